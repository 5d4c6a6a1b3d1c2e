"""The training loop."""

from __future__ import annotations

from cfg.flags import plain
from cfg.schema import Config, Train

import time
from pathlib import Path
from typing import Any

from torch import nn

from ckconv.errors import UsageError
from datasets.task import Loader, Loaders, Task
from program.environment import commit
from program.folder import LAST
from program.interruption import Interruption
from program.progress import bar
from training import checkpoints
from training.checkpoints.saved import fitting
from training.epoch import epoch_steps, judge, named, train_epoch
from training.finite import check_row
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
    training = Training(model, task, cfg, epoch_steps(loaders.train, cfg.train), epochs)
    extra = {"data": loaders.state, "config": plain(cfg), "log": log.state()}
    extra |= checkpoints.description(task, loaders)
    if saved is not None:
        with fitting(folder / LAST):
            training.load(saved)
        training.mend_best(folder, extra)
        log.resume(training.progress)
    elif save_start:
        training.save(folder, extra)
    progress = training.progress
    progress.goes_on_with(commit())
    epoch_bar = bar("epochs", training.epochs, progress.epoch)
    with Interruption(lambda: training.save(folder, extra), folder) as interruption, epoch_bar:
        while progress.epoch < training.epochs and not progress.is_stuck(cfg.train.early_stop):
            one_epoch(training, loaders.train, judged, task, cfg, interruption)
            training.save(folder, extra)
            log.epoch(progress, training.tested_model)
            epoch_bar.update()
    training.load_tested_weights(folder)
    return progress


def one_epoch(
    training: Training,
    loader: Loader,
    judged: Loader | None,
    task: Task,
    cfg: Config,
    interruption: Interruption,
) -> None:
    """Train for an epoch, or for what is left of one, judge it, and count it."""
    progress = training.progress
    started = time.perf_counter() - progress.part.get("seconds", 0.0)
    row = train_epoch(training, loader, task, cfg, interruption, started)
    results = judge(training, judged, task, cfg)
    row |= named(cfg.train.select_on, results)
    check_row(row, cfg.train.lr)
    training.schedule.end_epoch(results.get(task.metric))
    row["seconds"] = round(time.perf_counter() - started, 3)
    progress.end_epoch(row, results, task)


def judged_split(loaders: Loaders, train: Train) -> Loader | None:
    """The split by which epochs are chosen; None where no samples are held out for it.

    Raises `UsageError` where the schedule or the early stop needs one.
    """
    judged = loaders.test if train.select_on == "test" else loaders.validation
    if judged is None and (train.scheduler == "plateau" or train.early_stop):
        plateau = train.scheduler == "plateau"
        flag = "scheduler=plateau" if plateau else f"early_stop={train.early_stop}"
        raise UsageError(
            f"train.{flag}: needs samples that are held out; set dataset_params.val_fraction over "
            "0, or train.select_on=test"
        )
    return judged
