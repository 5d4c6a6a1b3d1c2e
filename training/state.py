"""The state of a training run: what a checkpoint holds."""

from __future__ import annotations

from cfg.schema import Config

from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from ckconv.errors import UsageError
from datasets.task import Task
from program import distributed
from program.folder import BEST, LAST
from training import checkpoints
from training.checkpoints.saved import (
    check_alike,
    check_optimizer,
    check_progress,
    check_weights_of,
    fitting,
)
from training.finite import check_weights
from training.optimizer import build_optimizer
from training.report.progress import Progress
from training.schedule import Schedule


class Training:
    """Everything that must be kept for a run to go on as if it had never stopped.

    It is a training of `epochs` epochs, of `train.epochs` where none are given.
    """

    def __init__(
        self,
        model: nn.Module,
        task: Task,
        cfg: Config,
        steps_per_epoch: int,
        epochs: int | None = None,
    ) -> None:
        self.model = model
        self.lr = cfg.train.lr
        self.epochs = cfg.train.epochs if epochs is None else epochs
        self.optimizer = build_optimizer(model, cfg.train)
        self.schedule = Schedule(
            self.optimizer,
            cfg.train,
            steps_per_epoch,
            higher_is_better=task.higher_is_better,
            epochs=self.epochs,
        )
        self.averaged = averaged_model(model, cfg.train.ema)
        self.progress = Progress()
        self.forward = torch.compile(model) if cfg.train.compile else model

    @property
    def tested_model(self) -> nn.Module:
        """The network that is evaluated: the averaged one where there is one."""
        return self.averaged.module if self.averaged else self.model

    def step(self) -> None:
        """Take an optimizer step on the gradients that are there."""
        self.optimizer.step()
        self.schedule.step()
        if self.averaged:
            self.averaged.update_parameters(self.model)

    def save(self, folder: Path, extra: dict[str, Any]) -> None:
        """Write `last.pt`, then `best.pt` if the last epoch is the best; every process must ask.

        Where a kill comes between the two, `last.pt` still holds the weights of that epoch, and
        `mend_best` makes `best.pt` of them. Raises `UsageError`, and leaves both as they are, for
        weights that are not finite.
        """
        for model in (self.model, self.tested_model):
            check_weights(model, self.progress.epoch, self.lr)
        last = {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "averaged": self.averaged.state_dict() if self.averaged else None,
            "random": distributed.gathered(checkpoints.random_state()),
        }
        self._write(folder / LAST, last | self._described(extra))
        if self.is_at_best:
            self._write_best(folder, extra)
        distributed.barrier()  # nobody reads them, or leaves, before they are written

    @property
    def is_at_best(self) -> bool:
        """Whether the weights are those of the best epoch, as it ended."""
        return self.progress.is_best and not self.progress.part

    def _described(self, extra: dict[str, Any]) -> dict[str, Any]:
        """What every checkpoint says beside its weights, the epoch that they are of among it."""
        return {"progress": asdict(self.progress)} | extra

    def _write_best(self, folder: Path, extra: dict[str, Any]) -> None:
        best = {"model": self.tested_model.state_dict()}
        self._write(folder / BEST, best | self._described(extra))

    def mend_best(self, folder: Path, extra: dict[str, Any]) -> None:
        """See that `best.pt` holds the epoch that was chosen, before anything is trained on.

        A kill before it was written is made good. Raises `UsageError` where the best epoch's
        weights are lost.
        """
        problem = self._best_problem(folder) if distributed.is_main() else ""
        problem = distributed.agreed(problem)
        if problem and self.is_at_best:
            self._write_best(folder, extra)
            distributed.barrier()
        elif problem:
            raise UsageError(
                f"{problem}, and the run's best epoch was {self.progress.best_epoch}; "
                "put that file back, or start a new run"
            )

    def _best_problem(self, folder: Path) -> str:
        if not self.progress.best_epoch:
            return ""
        if not (folder / BEST).exists():
            return f"{folder / BEST}: does not exist"
        try:
            epoch = self._read_best(folder)["progress"]["epoch"]
        except UsageError as error:
            return str(error)
        is_chosen = epoch == self.progress.best_epoch
        return "" if is_chosen else f"{folder / BEST}: is of epoch {epoch}"

    def _read_best(self, folder: Path) -> dict[str, Any]:
        content = checkpoints.read(folder / BEST)
        with fitting(folder / BEST):
            check_weights_of(content["model"], self.model, "model")
            check_progress(content["progress"])
        return content

    @staticmethod
    def _write(path: Path, content: dict[str, Any]) -> None:
        if distributed.is_main():
            checkpoints.save(path, content)

    def load(self, saved: dict[str, Any]) -> None:
        """Go on from the content of a `last.pt`. Raises an error for one of another run."""
        check_weights_of(saved["model"], self.model, "model")
        check_optimizer(saved["optimizer"], self.optimizer)
        check_alike(saved["schedule"], self.schedule.state_dict(), "schedule")
        self.model.load_state_dict(saved["model"])
        self.optimizer.load_state_dict(saved["optimizer"])
        self.schedule.load_state_dict(saved["schedule"])
        if self.averaged:
            check_weights_of(saved["averaged"], self.averaged, "averaged")
            self.averaged.load_state_dict(saved["averaged"])
        self.progress = Progress(**saved["progress"])
        if distributed.rank() < len(saved["random"]):
            checkpoints.set_random_state(saved["random"][distributed.rank()])

    def load_tested_weights(self, folder: Path) -> None:
        """Leave in the model what is to be tested: the best epoch's weights, or the last one's."""
        if self.progress.best_epoch:
            self.model.load_state_dict(self._read_best(folder)["model"])
        elif self.averaged:
            self.model.load_state_dict(self.averaged.module.state_dict())


def averaged_model(model: nn.Module, decay: float) -> AveragedModel | None:
    """The exponential moving average of the weights of `train.ema`; buffers are the latest."""
    if not decay:
        return None
    return AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(decay))
