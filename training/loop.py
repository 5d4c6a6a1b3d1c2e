"""The training loop."""

from __future__ import annotations

from cfg.schema import Config

from pathlib import Path
from typing import Any

from torch import nn

from datasets.task import Loaders, Task
from program.interruption import Interruption
from training.checkpoints.kept import Kept
from training.epoch import epoch_steps, one_epoch
from training.evaluation import judged_split
from training.report.epochs import EpochLog
from training.state import Progress, Training


def fit(
    model: nn.Module,
    loaders: Loaders,
    task: Task,
    cfg: Config,
    folder: Path,
    log: EpochLog,
    saved: dict[str, Any] | None = None,
    save_start: bool = False,
    epochs: int | None = None,
    res_offset: int | None = None,
) -> Progress:
    """Train `model` for `epochs`, or `train.epochs`, and leave in it the weights to be tested.

    These are the weights of the epoch with the best result on the split of `train.select_on`, or
    those of the last epoch where no samples are held out. `saved` is the content of the `last.pt`
    of a run that is continued. Writes `last.pt` after every epoch, with `save_start` also before
    the first one, and `best.pt` after a best one.

    Raises `UsageError` where loss, results or weights are no longer finite; the last checkpoint
    stays. Raises `Interrupted` on SIGTERM, SIGUSR1 or SIGUSR2, with the state after the last step
    in `last.pt`.
    """
    judged = judged_split(loaders, cfg.train)
    training = Training(model, task, cfg, epoch_steps(loaders.train, cfg.train), epochs, res_offset)
    kept = Kept.of(folder, cfg, task, loaders, log.state())
    if saved is not None:
        kept.restore(training, saved)
        log.resume(training.progress)
    elif save_start:
        kept.save(training)
    progress = training.progress
    progress.goes_on()
    with Interruption(lambda: kept.save(training), folder) as interruption, log:
        while progress.epoch < training.epochs and not progress.is_stuck(cfg.train.early_stop):
            one_epoch(training, loaders.train, judged, task, cfg, interruption)
            kept.save(training)
            log.epoch(progress)
    kept.load_tested_weights(training)
    return progress
