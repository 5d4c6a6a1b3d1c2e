"""One epoch: a pass over the training samples, and the results by which it is judged."""

from __future__ import annotations

from cfg.schema import Config, Train

import time
from collections.abc import Sequence
from itertools import islice

from torch import Tensor

from datasets.task import Loader, Task
from program.interruption import Interruption
from program.progress import shown
from training.evaluation import Totals, evaluate
from training.finite import check_loss, check_row, check_weights
from training.state import Training
from training.step import loss_after, train_step

FINITE_CHECK_EVERY = 20  # steps between two looks at the loss on a GPU, each of which waits for it


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
    row, batch = train_epoch(training, loader, task, cfg, interruption, started)
    if judged is None and batch:  # nothing else would show that the last step went too far
        check_weights(training.model, progress.epoch + 1, cfg.train.lr)
        loss = loss_after(training, batch, task, cfg)
        check_loss(loss, epoch_steps(loader, cfg.train), progress.epoch, cfg.train.lr)
    results = judge(training, judged, task, cfg)
    row |= named(cfg.train.select_on, results)
    check_row(row, cfg.train.lr)
    training.schedule.end_epoch(results.get(task.metric))
    row["seconds"] = round(time.perf_counter() - started, 3)
    training.end_epoch(row, results, task)


def train_epoch(
    training: Training,
    loader: Loader,
    task: Task,
    cfg: Config,
    interruption: Interruption,
    started: float,
) -> tuple[dict[str, float], Sequence[Tensor]]:
    """One pass over the training samples, or what is left of one.

    Returns the whole pass's row, and the last batch, empty where nothing was left.
    """
    epoch, steps = training.progress.epoch, epoch_steps(loader, cfg.train)
    part = training.progress.part or {"steps": 0, "lr": training.schedule.learning_rate}
    totals = Totals(task, cfg.train.report_top5_acc, part.get("sums"))
    batches = islice(loader.batches(epoch, part["steps"]), steps - part["steps"])
    batch: Sequence[Tensor] = ()
    training.model.train()
    text = f"{interruption.folder.name}: epoch {epoch + 1}/{training.epochs}, step"
    batches = shown(batches, text, steps, part["steps"])
    for step, batch in enumerate(batches, start=part["steps"] + 1):
        loss = train_step(training, batch, task, cfg, totals)
        if not loss.is_cuda or step % FINITE_CHECK_EVERY == 0 or step == steps:
            check_loss(loss, step, epoch, cfg.train.lr)
        if interruption.is_asked():
            done = {"steps": step, "sums": totals.whole(), "seconds": time.perf_counter() - started}
            training.progress.part = part | done
            interruption.obey()
    training.progress.part = {}
    row = {"epoch": epoch + 1, "lr": part["lr"], **named("train", totals.results())}
    return row, batch


def judge(training: Training, judged: Loader | None, task: Task, cfg: Config) -> dict[str, float]:
    """The results that epochs are chosen by, empty where no samples are held out."""
    if judged is None:
        return {}
    return evaluate(
        training.tested_model,
        judged,
        task,
        cfg.train.precision,
        cfg.train.report_top5_acc,
        text=f"epoch {training.progress.epoch + 1}/{training.epochs}, validation batch",
    )


def epoch_steps(loader: Loader, train: Train) -> int:
    """Optimizer steps in an epoch."""
    return min(len(loader), train.max_batches) if train.max_batches else len(loader)


def named(split: str, results: dict[str, float]) -> dict[str, float]:
    """Results under the names of a row: `validation_accuracy`."""
    return {f"{split}_{name}": value for name, value in results.items() if name != "targets"}
