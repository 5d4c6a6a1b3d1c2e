"""What is kept of a run's stages: `stages.json`, and their epochs in the run's log."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from torch import nn

from program import distributed
from program.environment import commit
from program.files import write_json
from program.folder import BEST, FINE_TUNING, LAST, RESULT, STAGES
from training import checkpoints
from training.checkpoints.saved import DoesNotFit, check_saved, fitting
from training.report.epochs import EpochLog, results_text
from training.report.layers import generated_layers
from training.report.logs import RunLog
from training.report.progress import Progress

SOURCE, AS_IS, FINE_TUNED = "source", "as_is", "fine_tuned"


class Record:
    """The results of the stages that are done, and the places of those to come.

    Args:
        folder: where the run's files go.
        wandb: the run's log.
        is_continued: whether the run goes on where it was stopped; a new one takes nothing over.
    """

    def __init__(self, folder: Path, wandb: RunLog, is_continued: bool) -> None:
        self.folder, self.wandb = folder, wandb
        self.results: dict[str, dict[str, Any]] = {}
        if not is_continued:
            self.forget_later_stages()
        elif (folder / STAGES).exists():
            if distributed.is_main():
                (folder / RESULT).unlink(missing_ok=True)  # until all stages are done again
            self.results = read_stages(folder / STAGES)

    def source_log(self, epochs: int, show_time: bool) -> EpochLog:
        """The log of the training at the source resolution."""
        return EpochLog(self.folder, _StageLog(self.wandb, SOURCE, 0), epochs, show_time)

    def fine_tuning_log(self, epochs: int, show_time: bool) -> EpochLog:
        """The log of the fine-tuning, whose epochs are counted on, in a folder of its own."""
        stage = _StageLog(self.wandb, FINE_TUNING, self.results[SOURCE]["epochs"])
        return EpochLog(self._fine_tuning_folder(), stage, epochs, show_time)

    def fine_tuning_checkpoint(self) -> dict[str, Any] | None:
        """The last checkpoint of a fine-tuning that was stopped, if there was one."""
        last = self._fine_tuning_folder() / LAST
        if not last.exists():
            return None
        saved = checkpoints.read(last)
        with fitting(last):
            check_saved(saved)
        return saved

    def _fine_tuning_folder(self) -> Path:
        folder = self.folder / FINE_TUNING
        folder.mkdir(exist_ok=True)
        return folder

    def add(
        self, name: str, results: dict[str, float], model: nn.Module, progress: Progress | None
    ) -> None:
        """Keep what a stage gave; `progress` is that of its training, if it had one."""
        self.results[name] = {
            **results,
            "epochs": progress.epoch if progress else 0,
            "best_epoch": progress.best_epoch if progress else None,
            "seconds_in_epochs": round(progress.seconds, 2) if progress else 0.0,
            "commits": progress.commits if progress else [c for c in [commit()] if c],
            "kernel_sizes": {layer.name: list(layer.size) for layer in generated_layers(model)},
        }
        if distributed.is_main():
            write_json(self.folder / STAGES, self.results)

    def show(self, name: str) -> None:
        """Print a stage's results."""
        text = results_text("test", self.results[name])
        print(f"{name.replace('_', ' ')}: {text}", flush=True)

    def forget_later_stages(self) -> None:
        """Remove what an earlier run left in this folder after its first training."""
        self.results = {}
        if not distributed.is_main():
            return
        for path in (STAGES, *(f"{FINE_TUNING}/{x}" for x in (LAST, BEST))):
            (self.folder / path).unlink(missing_ok=True)


def read_stages(path: Path) -> dict[str, dict[str, Any]]:
    """The results of the stages that were done. Raises `UsageError` for another file."""
    with fitting(path):
        results = json.loads(path.read_text())
        for name, stage in results.items():
            if name not in (SOURCE, AS_IS, FINE_TUNED):
                raise DoesNotFit(f"there is no stage {name}")
            numbers = [stage[key] for key in ("loss", "accuracy", "targets", "epochs")]
            if not all(isinstance(x, int | float) and math.isfinite(x) for x in numbers):
                raise DoesNotFit(f"the results of {name} are no numbers")
        return results


class _StageLog:
    """A run's log for one of its stages: under the stage's name, with epochs counted on."""

    def __init__(self, wandb: RunLog, stage: str, epochs_before: int) -> None:
        self.wandb, self.stage, self.epochs_before = wandb, stage, epochs_before

    @property
    def run_id(self) -> str | None:
        return self.wandb.run_id

    def log(self, values: dict[str, Any], step: int) -> None:
        named = {f"{self.stage}/{name}": value for name, value in values.items()}
        self.wandb.log(named, step=self.epochs_before + step)
