"""The two checkpoints in a run's folder: its state after the last epoch, and the best weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ckconv.errors import UsageError
from program import distributed
from program.folder import BEST, LAST
from training import checkpoints
from training.checkpoints.saved import check_progress, check_weights_of, fitting
from training.finite import check_weights

if TYPE_CHECKING:
    from cfg.schema import Config

    from datasets.task import Loaders, Task
    from training.state import Training


class Kept:
    """`last.pt` and `best.pt` of a folder; `described` is what both say beside their weights."""

    def __init__(self, folder: Path, described: Mapping[str, Any]) -> None:
        self.last, self.best = folder / LAST, folder / BEST
        self.described = dict(described)

    @classmethod
    def of(
        cls, folder: Path, cfg: Config, task: Task, loaders: Loaders, log: Mapping[str, Any]
    ) -> Kept:
        """Those of a run; `log` is what its log needs to know to go on."""
        return cls(folder, checkpoints.description(cfg, task, loaders) | {"log": log})

    def save(self, training: Training) -> None:
        """Write `last.pt`, then `best.pt` if the last epoch is the best; every process must ask.

        Where a kill comes between the two, `last.pt` still holds the weights of that epoch, and
        `restore` makes `best.pt` of them. Raises `UsageError`, and leaves both as they are, for
        weights that are not finite.
        """
        for model in (training.model, training.tested_model):
            check_weights(model, training.progress.epoch, training.lr)
        self._write(self.last, training.state_dict(), training)
        if training.is_at_best:
            self._write_best(training)
        distributed.barrier()  # nobody reads them, or leaves, before they are written

    def restore(self, training: Training, saved: Mapping[str, Any]) -> None:
        """Go on from the content of `last.pt`, and see that `best.pt` holds the chosen epoch.

        A kill before it was written is made good. Raises `UsageError` for content of another run,
        and where the best epoch's weights are lost.
        """
        with fitting(self.last):
            training.load(saved)
        problem = self._best_problem(training) if distributed.is_main() else ""
        problem = distributed.agreed(problem)
        if problem and training.is_at_best:
            self._write_best(training)
            distributed.barrier()
        elif problem:
            raise UsageError(
                f"{problem}, and the run's best epoch was {training.progress.best_epoch}; "
                "put that file back, or start a new run"
            )

    def load_tested_weights(self, training: Training) -> None:
        """Leave in the model what is to be tested: the best epoch's weights, or the last one's."""
        if training.progress.best_epoch:
            training.model.load_state_dict(self._read_best(training)["model"])
        elif training.averaged:
            training.model.load_state_dict(training.averaged.module.state_dict())

    def _write_best(self, training: Training) -> None:
        self._write(self.best, {"model": training.tested_model.state_dict()}, training)

    def _write(self, path: Path, content: Mapping[str, Any], training: Training) -> None:
        if distributed.is_main():
            progress = {"progress": asdict(training.progress)}
            checkpoints.save(path, {**content, **progress, **self.described})

    def _best_problem(self, training: Training) -> str:
        progress = training.progress
        if not progress.best_epoch:
            return ""
        if not self.best.exists():
            return f"{self.best}: does not exist"
        try:
            epoch = self._read_best(training)["progress"]["epoch"]
        except UsageError as error:
            return str(error)
        return "" if epoch == progress.best_epoch else f"{self.best}: is of epoch {epoch}"

    def _read_best(self, training: Training) -> dict[str, Any]:
        content = checkpoints.read(self.best)
        with fitting(self.best):
            check_weights_of(content["model"], training.model, "model")
            check_progress(content["progress"])
        return content
