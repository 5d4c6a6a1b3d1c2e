"""The training loop."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm import tqdm

from ckconv.errors import UsageError
from datasets.task import Loader, Loaders, Task
from training import checkpoints
from training.evaluation import Totals, evaluate
from training.losses import regularization, task_loss
from training.optimizer import build_optimizer
from training.records import EpochLog
from training.runtime import autocast
from training.schedule import Schedule

FINITE_CHECK_EVERY = 20  # steps between two looks at the loss on a GPU, each of which waits for it


@dataclass
class Progress:
    """How far a run has come; saved in every checkpoint."""

    epoch: int = 0  # epochs done
    best_epoch: int = 0  # 0: nothing to choose by
    best: float | None = None  # the result of that epoch
    seconds: float = 0.0  # spent in epochs
    history: list[dict[str, float]] = field(default_factory=list)  # a row per epoch


@dataclass
class Training:
    """Everything that a checkpoint must hold for a run to go on as if it had never stopped."""

    model: nn.Module
    optimizer: torch.optim.Optimizer
    schedule: Schedule
    averaged: AveragedModel | None
    progress: Progress

    @property
    def tested_model(self) -> nn.Module:
        """The network that is evaluated: the averaged one where there is one."""
        return self.averaged.module if self.averaged else self.model

    def state_dict(self) -> dict[str, Any]:
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "averaged": self.averaged.state_dict() if self.averaged else None,
            "random": checkpoints.random_state(),
            "progress": asdict(self.progress),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        if self.averaged:
            self.averaged.load_state_dict(state["averaged"])
        self.progress = Progress(**state["progress"])
        checkpoints.set_random_state(state["random"])


def fit(
    model: nn.Module,
    loaders: Loaders,
    task: Task,
    cfg: Any,
    folder: Path,
    log: EpochLog,
    saved: dict[str, Any] | None = None,
) -> Progress:
    """Train `model` and leave in it the weights to be tested.

    These are the weights of the epoch with the best result on the split of `train.select_on`, or
    those of the last epoch where no samples are held out. `saved` is the checkpoint of a run that
    is continued. Writes `last.pt` after every epoch, and `best.pt` after every best one.

    Raises `UsageError` where the loss is no longer a number; the last checkpoint stays.
    """
    judged = {"validation": loaders.validation, "test": loaders.test}[cfg.train.select_on]
    if judged is None and (cfg.train.scheduler == "plateau" or cfg.train.early_stop):
        flag = "scheduler=plateau" if cfg.train.scheduler == "plateau" else "early_stop"
        raise UsageError(
            f"train.{flag}: needs held-out samples; set dataset_params.val_fraction over 0"
        )
    steps = epoch_steps(loaders.train, cfg.train)
    optimizer = build_optimizer(model, cfg.train)
    schedule = Schedule(optimizer, cfg.train, steps, task.metric == "accuracy")
    averaged = averaged_model(model, cfg.train.ema)
    training = Training(model, optimizer, schedule, averaged, Progress())
    if saved is not None:
        training.load_state_dict(saved)
    progress = training.progress
    forward = torch.compile(model) if cfg.train.compile else model
    extra = {"data": loaders.state, "config": checkpoints.plain(cfg), "log": log.state()}

    while progress.epoch < cfg.train.epochs and not is_stuck(progress, cfg.train.early_stop):
        started = time.perf_counter()
        row = {"epoch": progress.epoch + 1, "lr": schedule.learning_rate}
        row |= train_epoch(training, forward, loaders.train, task, cfg)
        if judged is not None:
            results = evaluate(
                training.tested_model, judged, task, cfg.train.precision, cfg.train.report_top5_acc
            )
            row |= {f"{cfg.train.select_on}_{k}": v for k, v in results.items() if k != "targets"}
            result = results[task.metric]
            schedule.end_epoch(result)
        progress.epoch += 1
        row["seconds"] = round(time.perf_counter() - started, 3)
        progress.seconds += row["seconds"]
        progress.history.append(row)
        if judged is not None and is_better(task, result, progress.best):
            progress.best, progress.best_epoch = result, progress.epoch
            best = {"model": training.tested_model.state_dict(), "progress": asdict(progress)}
            checkpoints.save(folder / checkpoints.BEST, best | extra)
        checkpoints.save(folder / checkpoints.LAST, training.state_dict() | extra)
        log.epoch(progress, training.tested_model)

    if progress.best_epoch:
        model.load_state_dict(checkpoints.read(folder / checkpoints.BEST)["model"])
    elif averaged:
        model.load_state_dict(averaged.module.state_dict())
    return progress


def train_epoch(
    training: Training, forward: nn.Module, loader: Loader, task: Task, cfg: Any
) -> dict[str, float]:
    """One pass over the training samples; returns the results under `train_...`."""
    model, schedule = training.model, training.schedule
    device = next(model.parameters()).device
    check_every = 1 if device.type == "cpu" else FINITE_CHECK_EVERY
    epoch, steps = training.progress.epoch, epoch_steps(loader, cfg.train)
    totals = Totals(task, cfg.train.report_top5_acc)
    batches = islice(loader.batches(epoch), steps)
    model.train()
    for step, (inputs, target) in enumerate(progress_bar(batches, steps, epoch, cfg), start=1):
        loss = train_step(training, forward, inputs, target, task, cfg, totals)
        if (step % check_every == 0 or step == steps) and not math.isfinite(loss.item()):
            raise UsageError(
                f"the loss is {loss.item()} at step {step} of epoch {epoch + 1}: training "
                f"diverged; lower train.lr={cfg.train.lr}, or set train.grad_clip"
            )
        schedule.step()
        if training.averaged:
            training.averaged.update_parameters(model)
    return {f"train_{k}": v for k, v in totals.results().items() if k != "targets"}


def train_step(
    training: Training,
    forward: nn.Module,
    inputs: Tensor,
    target: Tensor,
    task: Task,
    cfg: Any,
    totals: Totals,
) -> Tensor:
    """One optimizer step on one batch, (B, channels, *size); returns its loss with penalties.

    With `train.accumulate` the batch goes through the network in parts, each weighted by its
    share, so that the gradients are those of the whole batch.
    """
    model, optimizer = training.model, training.optimizer
    layout = torch.channels_last if cfg.train.channels_last and inputs.ndim == 4 else None
    inputs = inputs.to(memory_format=layout) if layout else inputs
    parts = list(zip(inputs.chunk(cfg.train.accumulate), target.chunk(cfg.train.accumulate)))
    whole_loss = torch.zeros((), device=inputs.device)
    optimizer.zero_grad(set_to_none=True)
    for index, (part, part_target) in enumerate(parts):
        with autocast(inputs.device, cfg.train.precision):
            output = forward(part)
        mean_loss = task_loss(task, output, part_target)
        totals.add(output, part_target, mean_loss.detach())
        loss = mean_loss * (len(part) / len(inputs))
        if index == len(parts) - 1:  # the kernels, and so the penalties, are the same for all parts
            penalty = regularization(model, cfg)
            loss = loss if penalty is None else loss + penalty
        loss.backward()
        whole_loss += loss.detach()
    if cfg.train.grad_clip:
        nn.utils.clip_grad_norm_(model.parameters(), cfg.train.grad_clip)
    optimizer.step()
    return whole_loss


def epoch_steps(loader: Loader, cfg: Any) -> int:
    """Optimizer steps in an epoch."""
    return min(len(loader), cfg.max_batches) if cfg.max_batches else len(loader)


def averaged_model(model: nn.Module, decay: float) -> AveragedModel | None:
    """The exponential moving average of the weights of `train.ema`; buffers are the latest."""
    if not decay:
        return None
    return AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(decay))


def is_better(task: Task, result: float, best: float | None) -> bool:
    """Whether a result beats the best so far."""
    if best is None:
        return True
    return result > best if task.metric == "accuracy" else result < best


def is_stuck(progress: Progress, patience: int) -> bool:
    """Whether there was no better result for `train.early_stop` epochs."""
    return bool(patience) and progress.epoch - progress.best_epoch >= patience


def progress_bar(batches: Iterator, steps: int, epoch: int, cfg: Any) -> Iterator:
    """The batches, with a bar on a terminal and without one elsewhere."""
    return tqdm(
        batches,
        desc=f"epoch {epoch + 1}/{cfg.train.epochs}",
        total=steps,
        leave=False,
        disable=not sys.stderr.isatty(),
    )
