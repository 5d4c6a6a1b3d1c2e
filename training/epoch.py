"""One epoch: a pass over the training samples, and the results by which it is judged."""

from __future__ import annotations

from cfg.schema import Config, Train

import time
from collections.abc import Sequence
from itertools import islice

import torch
from torch import Tensor, nn

from ckconv.nn import recorded_kernels
from datasets.task import Loader, Task
from program import device, distributed
from program.interruption import Interruption
from program.progress import shown
from training.evaluation import Totals, evaluate
from training.finite import check_loss
from training.losses import regularization, task_loss
from training.state import Training

FINITE_CHECK_EVERY = 20  # steps between two looks at the loss on a GPU, each of which waits for it


def train_epoch(
    training: Training,
    loader: Loader,
    task: Task,
    cfg: Config,
    interruption: Interruption,
    started: float,
) -> dict[str, float]:
    """One pass over the training samples, or what is left of one; returns the whole pass's row."""
    epoch, steps = training.progress.epoch, epoch_steps(loader, cfg.train)
    part = training.progress.part or {"steps": 0, "lr": training.schedule.learning_rate}
    totals = Totals(task, cfg.train.report_top5_acc, part.get("sums"))
    batches = islice(loader.batches(epoch, part["steps"]), steps - part["steps"])
    training.model.train()
    text = f"{interruption.folder.name}: epoch {epoch + 1}/{training.epochs}, step"
    batches = shown(batches, text, steps, part["steps"])
    for step, batch in enumerate(batches, start=part["steps"] + 1):
        loss = train_step(training, batch, task, cfg, totals)
        if not loss.is_cuda or step % FINITE_CHECK_EVERY == 0 or step == steps:
            check_loss(distributed.mean_over_ranks(loss).item(), step, epoch, cfg.train.lr)
        if interruption.is_asked():
            done = {"steps": step, "sums": totals.whole(), "seconds": time.perf_counter() - started}
            training.progress.part = part | done
            interruption.obey()
    training.progress.part = {}
    return {"epoch": epoch + 1, "lr": part["lr"], **named("train", totals.results())}


def train_step(
    training: Training, batch: Sequence[Tensor], task: Task, cfg: Config, totals: Totals
) -> Tensor:
    """One optimizer step on one batch, as a loader gives it; returns its loss with penalties.

    With `train.accumulate` the batch goes through the network in parts, each weighted by its
    share, so that the gradients are those of the whole batch.
    """
    model, inputs = training.model, batch[0]
    parts = list(zip(*(tensor.chunk(cfg.train.accumulate) for tensor in batch)))
    whole_loss = torch.zeros((), device=inputs.device)
    training.optimizer.zero_grad(set_to_none=True)
    for index, (part, part_target, *lengths) in enumerate(parts):
        precision = device.autocast(inputs.device, cfg.train.precision)
        with precision, recorded_kernels(model) as kernels:
            output = training.forward(part, *lengths)
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
