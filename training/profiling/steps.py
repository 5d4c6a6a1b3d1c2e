"""The steps that `run_profiler.py` measures: of what network, on what data, in what mode."""

from __future__ import annotations

from cfg.schema import Config

import copy
from collections.abc import Callable, Iterator
from itertools import count, repeat

import torch
from torch import Tensor, nn

from ckconv.errors import UsageError
from ckconv.nn import keep_kernels
from datasets.task import Loader, Task
from program.device import autocast
from training.evaluation import Totals
from training.losses import task_loss
from training.profiling.measure import peak_memory, state_bytes
from training.state import Training
from training.step import train_step

Batches = Iterator[tuple[Tensor, Tensor]]


def check(cfg: Config, task: Task) -> None:
    """Raise `UsageError`, naming the flag, for a profile that cannot be made."""
    if cfg.train.compile:
        raise UsageError(
            "train.compile=True: compiled code does not tell its layers apart; profile without it"
        )
    shape = list(cfg.profile.data_shape)
    if not shape:
        return
    if cfg.profile.data_mode == "dataset":
        raise UsageError(
            f"profile.data_shape={shape}: profile.data_mode=dataset takes the data set's own "
            "batches; leave it empty, or use profile.data_mode=fake"
        )
    if len(shape) != 2 + task.dim or shape[1] != task.in_channels:
        sides = ("length",) if task.dim == 1 else ("height", "width")
        example = ",".join(map(str, (cfg.train.batch_size, task.in_channels, *task.size)))
        raise UsageError(
            f"profile.data_shape={shape}: {task.name} has inputs of (batch, "
            f"{task.in_channels} channel{'s' * (task.in_channels > 1)}, {', '.join(sides)}); "
            f"give such a shape, as profile.data_shape=[{example}]"
        )


def shape_of(cfg: Config, task: Task) -> list[int]:
    """The shape of a fake batch: the one that was given, else the data set's."""
    given = list(cfg.profile.data_shape)
    return given or [cfg.train.batch_size, task.in_channels, *task.size]


def fake_batches(shape: list[int], task: Task, device: torch.device) -> Batches:
    """The same batch of random numbers again and again."""
    inputs = torch.randn(shape, device=device)
    if task.loss == "mse":
        target = torch.randn(shape[0], task.out_channels, device=device)
    elif task.loss == "binary":
        target = torch.rand(shape[0], task.out_channels, device=device).round()
    else:
        size = (shape[0], shape[2]) if task.per_step else (shape[0],)
        target = torch.randint(task.out_channels, size, device=device)
    while True:
        yield inputs, target


def real_batches(loader: Loader) -> Batches:
    """The data set's whole batches, epoch after epoch: a smaller last one is left out."""
    whole = max(1, loader.num_samples // loader.batch_size)
    for epoch in count():
        for index, batch in enumerate(loader.batches(epoch)):
            if index < whole:
                yield batch


def make_step(
    model: nn.Module, task: Task, cfg: Config, batches: Batches
) -> tuple[Callable[[], None], Training]:
    """A function that takes one step, data and all, as `run_experiment.py` does."""
    training = Training(model, task, cfg, max(1, task.train_samples // cfg.train.batch_size))
    totals = Totals(task, cfg.train.report_top5_acc)

    def train() -> None:
        train_step(training, next(batches), task, cfg, totals)

    @torch.no_grad()
    def evaluate() -> None:
        inputs, target, *lengths = next(batches)
        with autocast(inputs.device, cfg.train.precision):
            output = model(inputs, *lengths)
        totals.add(output, target, task_loss(task, output, target))

    is_training = cfg.profile.mode == "train"
    model.train(is_training)
    keep_kernels(model, not is_training)  # from step to step, as through an evaluation
    return (train if is_training else evaluate), training


def peak_bytes(model: nn.Module, task: Task, cfg: Config, batch: tuple) -> int:
    """The most memory that tensors take in a step, with weights, gradients and optimizer."""
    model = copy.deepcopy(model)  # a copy leaves the last step's kernels and gradients behind
    step, training = make_step(model, task, cfg, repeat(batch))
    peak = peak_memory(step, batch[0].device)
    return peak + state_bytes(model, training.optimizer, *batch)
