"""The record of a run, epoch by epoch: lines on the terminal, a CSV file, W&B."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

from program import distributed
from program.files import write_csv
from program.folder import METRICS, RESULT
from program.progress import bar, say
from training.report.live import LivePictures
from training.report.progress import Progress


class Log(Protocol):
    """What an epoch's figures are sent to, as W&B."""

    @property
    def run_id(self) -> str | None:
        """What a continued run needs to go on under the same name."""

    def log(self, values: dict[str, Any], step: int) -> None: ...


class EpochLog:
    """Writes what every epoch gave to the terminal, to `metrics.csv`, to pictures and to W&B.

    As a context, around the epochs, it shows a bar and leaves the pictures complete.
    """

    def __init__(self, folder: Path, wandb: Log, epochs: int, show_time: bool = False) -> None:
        self.folder, self.wandb = folder, wandb
        self.epochs, self.show_time = epochs, show_time
        self.done = 0  # epochs, before a continued run goes on
        self.pictures = LivePictures(folder)

    def __enter__(self) -> EpochLog:
        self.bar = bar("epochs", self.epochs, self.done)
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.close()
        self.pictures.finish()

    def state(self) -> dict[str, Any]:
        """What a continued run's log needs to know."""
        return {"wandb_id": self.wandb.run_id}

    def resume(self, progress: Progress) -> None:
        """Bring the records of a continued run to where its checkpoint was written.

        Where it will be trained further, the result it had ended with is one no longer.
        """
        self._write(progress)
        self.done = progress.epoch
        if distributed.is_main() and progress.epoch < self.epochs:
            (self.folder / RESULT).unlink(missing_ok=True)
        steps = progress.part.get("steps", 0)
        within = f" and {steps} steps of the next one" if steps else ""
        print(f"resumed after epoch {progress.epoch} of {self.epochs}{within}", flush=True)

    def epoch(self, progress: Progress) -> None:
        """Record the epoch that has just ended."""
        row = progress.history[-1]
        self._write(progress)
        line = epoch_line(row, self.epochs, progress.is_best, self.show_time)
        say(f"{line} | {self.folder.name}")  # whose line it is, where several runs print
        self.wandb.log(grouped(row), step=progress.epoch)
        self.bar.update()

    def _write(self, progress: Progress) -> None:
        if distributed.is_main():
            write_csv(self.folder / METRICS, progress.history)
            self.pictures.show(progress.history)


def epoch_line(row: dict[str, float], epochs: int, is_best: bool, show_time: bool) -> str:
    """An epoch's results in one line; a star marks the best epoch so far."""
    parts = [f"epoch {int(row['epoch']):{len(str(epochs))}d}/{epochs}"]
    for split in ("train", "validation", "test"):
        prefix = f"{split}_"
        results = {k.removeprefix(prefix): v for k, v in row.items() if k.startswith(prefix)}
        if results:
            parts.append(results_text(split, results))
    parts.append(f"lr {row['lr']:.2g}")
    if show_time:
        parts.append(f"{row['seconds']:.1f} s")
    return " | ".join(parts) + (" *" if is_best else "")


def results_text(split: str, results: dict[str, float]) -> str:
    """The results on a split, as `test loss 0.1, accuracy 97.50 %`."""
    texts = [
        f"{name} {result_text(name, results[name])}"
        for name in ("loss", "auc", "accuracy", "top5", "mse")
        if name in results
    ]
    return f"{split} {', '.join(texts)}"


def result_text(name: str, value: float) -> str:
    """A loss, an error or an area as a number, an accuracy as a percentage."""
    return f"{value:.4g}" if name in ("loss", "mse", "auc") else f"{100 * value:.2f} %"


def grouped(row: dict[str, float]) -> dict[str, float]:
    """A row under W&B's names: `train/loss` for `train_loss`."""
    named = {}
    for key, value in row.items():
        split, _, name = ("", "", "") if "/" in key else key.partition("_")
        named[f"{split}/{name}" if name else key] = value
    return named
