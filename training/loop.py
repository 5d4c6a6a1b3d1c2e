"""The training loop."""

from __future__ import annotations

from cfg.flags import plain

import math
import sys
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

from ckconv.errors import UsageError
from ckconv.nn import recorded_kernels
from datasets.task import Loader, Loaders, Task
from program import distributed
from program.device import autocast
from program.interruption import Interruption
from training.evaluation import Totals, evaluate
from training.losses import regularization, task_loss
from training.report.epochs import EpochLog
from training.sampling_rate import at_test_rate
from training.state import Progress, Training

FINITE_CHECK_EVERY = 20  # steps between two looks at the loss on a GPU, each of which waits for it


def fit(
    model: nn.Module,
    loaders: Loaders,
    task: Task,
    cfg: Any,
    folder: Path,
    log: EpochLog,
    saved: dict[str, Any] | None = None,
    save_start: bool = False,
) -> Progress:
    """Train `model` and leave in it the weights to be tested.

    These are the weights of the epoch with the best result on the split of `train.select_on`, or
    those of the last epoch where no samples are held out. `saved` is the content of the `last.pt`
    of a run that is continued. Writes `last.pt` after every epoch, with `save_start` also before
    the first one, and `best.pt` after a best one.

    Raises `UsageError` where the loss is no longer a number; the last checkpoint stays. Raises
    `Interrupted` on SIGTERM, SIGUSR1 or SIGUSR2, with the state after the last step in `last.pt`.
    """
    judged = judged_split(loaders, cfg.train)
    training = Training(model, task, cfg, epoch_steps(loaders.train, cfg.train))
    if saved is not None:
        training.load(saved)
        log.resume(training.progress)
    progress, schedule = training.progress, training.schedule
    extra = {"data": loaders.state, "config": plain(cfg), "log": log.state()}

    if save_start and saved is None:
        training.save(folder, extra)
    with Interruption(lambda: training.save(folder, extra), folder) as interruption:
        while progress.epoch < cfg.train.epochs and not progress.is_stuck(cfg.train.early_stop):
            started = time.perf_counter() - progress.part.get("seconds", 0.0)
            row = train_epoch(training, loaders.train, task, cfg, interruption, started)
            results = judge(training, judged, task, cfg)
            row |= named(cfg.train.select_on, results)
            schedule.end_epoch(results.get(task.metric))
            row["seconds"] = round(time.perf_counter() - started, 3)
            progress.end_epoch(row, results, task)
            training.save(folder, extra)
            log.epoch(progress, training.tested_model)

    training.load_tested_weights(folder)
    return progress


def train_epoch(
    training: Training,
    loader: Loader,
    task: Task,
    cfg: Any,
    interruption: Interruption,
    started: float,
) -> dict[str, float]:
    """One pass over the training samples, or what is left of one; returns the whole pass's row."""
    epoch, steps = training.progress.epoch, epoch_steps(loader, cfg.train)
    part = training.progress.part or {"steps": 0, "lr": training.schedule.learning_rate}
    totals = Totals(task, cfg.train.report_top5_acc, part.get("sums"))
    batches = islice(loader.batches(epoch, part["steps"]), steps - part["steps"])
    training.model.train()
    bar = progress_bar(batches, steps, epoch, cfg, part["steps"])
    for step, (inputs, target) in enumerate(bar, start=part["steps"] + 1):
        loss = train_step(training, inputs, target, task, cfg, totals)
        if not loss.is_cuda or step % FINITE_CHECK_EVERY == 0 or step == steps:
            check_finite(distributed.mean_over_ranks(loss).item(), step, epoch, cfg.train.lr)
        if interruption.is_asked():
            done = {"steps": step, "sums": totals.whole(), "seconds": time.perf_counter() - started}
            training.progress.part = part | done
            interruption.obey()
    training.progress.part = {}
    return {"epoch": epoch + 1, "lr": part["lr"], **named("train", totals.results())}


def train_step(
    training: Training, inputs: Tensor, target: Tensor, task: Task, cfg: Any, totals: Totals
) -> Tensor:
    """One optimizer step on one batch, (B, channels, *size); returns its loss with penalties.

    With `train.accumulate` the batch goes through the network in parts, each weighted by its
    share, so that the gradients are those of the whole batch.
    """
    model, count = training.model, cfg.train.accumulate
    parts = list(zip(inputs.chunk(count), target.chunk(count)))
    whole_loss = torch.zeros((), device=inputs.device)
    training.optimizer.zero_grad(set_to_none=True)
    for index, (part, part_target) in enumerate(parts):
        with autocast(inputs.device, cfg.train.precision), recorded_kernels(model) as kernels:
            output = training.forward(part)
        mean_loss = task_loss(task, output, part_target)
        totals.add(output, part_target, mean_loss.detach())
        loss = mean_loss * (len(part) / len(inputs))
        if index == len(parts) - 1:  # the kernels, and so the penalties, are the same for all parts
            penalty = regularization(model, cfg, kernels)
            loss = loss if penalty is None else loss + penalty
        loss.backward()
        whole_loss += loss.detach()
    distributed.average_gradients(model)
    if cfg.train.grad_clip:
        nn.utils.clip_grad_norm_(model.parameters(), cfg.train.grad_clip)
    training.step()
    return whole_loss


def judged_split(loaders: Loaders, cfg: Any) -> Loader | None:
    """The split by which epochs are chosen; None where no samples are held out for it.

    Raises `UsageError` where the schedule or the early stop needs one.
    """
    judged = loaders.test if cfg.select_on == "test" else loaders.validation
    if judged is None and (cfg.scheduler == "plateau" or cfg.early_stop):
        flag = "scheduler=plateau" if cfg.scheduler == "plateau" else f"early_stop={cfg.early_stop}"
        raise UsageError(
            f"train.{flag}: needs samples that are held out; set dataset_params.val_fraction over "
            "0, or train.select_on=test"
        )
    return judged


def judge(training: Training, judged: Loader | None, task: Task, cfg: Any) -> dict[str, float]:
    """The results that epochs are chosen by, empty where no samples are held out."""
    if judged is None:
        return {}
    model = training.tested_model
    if cfg.train.select_on == "test":
        model = at_test_rate(model, task, cfg)
    return evaluate(model, judged, task, cfg.train.precision, cfg.train.report_top5_acc)


def epoch_steps(loader: Loader, cfg: Any) -> int:
    """Optimizer steps in an epoch."""
    return min(len(loader), cfg.max_batches) if cfg.max_batches else len(loader)


def check_finite(loss: float, step: int, epoch: int, lr: float) -> None:
    """Raise `UsageError` for a loss that is infinite or not a number."""
    if not math.isfinite(loss):
        raise UsageError(
            f"the loss is {loss} at step {step} of epoch {epoch + 1}: training diverged; lower "
            f"train.lr={lr}, or set train.grad_clip"
        )


def named(split: str, results: dict[str, float]) -> dict[str, float]:
    """Results under the names of a row: `validation_accuracy`."""
    return {f"{split}_{name}": value for name, value in results.items() if name != "targets"}


def progress_bar(batches: Iterator, steps: int, epoch: int, cfg: Any, done: int) -> Iterator:
    """The batches after the `done` ones, with a bar on a terminal and without one elsewhere."""
    return tqdm(
        batches,
        desc=f"epoch {epoch + 1}/{cfg.train.epochs}",
        total=steps,
        initial=done,
        leave=False,
        disable=not sys.stderr.isatty() or not distributed.is_main(),
    )
