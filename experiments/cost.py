"""What a run of each preset costs: `python -m experiments.cost`, from measured training steps.

Writes `costs.csv`. A step is measured in CPU time of one thread, on random inputs in a batch of
few samples, and scaled to the preset's batch; a run is its steps, in both stages of one across
resolutions. Early stopping, evaluation and reading the data are not counted.
"""

from __future__ import annotations

from cfg.schema import Config

import math
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from datasets import describe
from datasets.task import Task
from experiments.tables import COSTS, read_paper
from models import build_model, set_resolution
from program.command_line import compose
from program.files import write_csv
from training.losses import task_loss

LARGEST = 2_000_000  # numbers in a measured batch, over samples, time and the network's channels
STEPS = 2  # that are measured, after one that is not


@dataclass
class Stage:
    """A training at one resolution."""

    size: tuple[int, ...]
    ratio: float  # of it and the resolution that the network is built for
    epochs: int


def stages_of(cfg: Config) -> list[Stage]:
    """The trainings that a run consists of."""
    source, target = cfg.cross_res.source_res, cfg.cross_res.target_res
    if not source:
        return [Stage(describe(cfg).size, 1.0, cfg.train.epochs)]
    return [
        Stage((source, source), 1.0, cfg.train.epochs),
        Stage((target, target), target / source, cfg.cross_res.finetune_epochs),
    ]


def step_seconds(model: nn.Module, task: Task, size: tuple[int, ...], batch: int) -> float:
    """CPU seconds of a training step on `batch` random samples."""
    x = torch.randn(batch, task.in_channels, *size)
    target = torch.zeros(batch, dtype=torch.int64)
    if task.loss != "cross_entropy":
        target = torch.zeros(batch, task.out_channels)
    for step in range(STEPS + 1):
        if step == 1:
            started = time.process_time()
        task_loss(task, model(x), target).backward()
    return (time.process_time() - started) / STEPS


def hours(name: str) -> float:
    """Hours of one CPU core that a run of the preset takes."""
    cfg = compose([f"+experiment={name}"])
    stages = stages_of(cfg)
    task = describe(cfg, size=stages[0].size) if cfg.cross_res.source_res else describe(cfg)
    model = build_model(cfg, task).train()
    samples, total = cfg.train.batch_size, 0.0
    for stage in stages:
        batch = max(2, min(samples, LARGEST // (math.prod(stage.size) * cfg.net.no_hidden)))
        if stage.ratio != 1:
            set_resolution(model, stage.ratio)
        seconds = step_seconds(model, task, stage.size, batch) / batch  # a sample
        total += seconds * task.train_samples * stage.epochs
    return total / 3600


def main(names: Sequence[str]) -> None:
    """Measure the presets that are named, or all that have a published figure."""
    torch.set_num_threads(1)
    presets = [
        name
        for section in read_paper().values()
        for name, entry in section.items()
        if len(entry) > 1
    ]
    rows = []
    for name in names or presets:
        rows.append({"preset": name, "hours": round(hours(name), 3)})
        print(f"{name}: {rows[-1]['hours']} h", flush=True)
        write_csv(COSTS, rows)


if __name__ == "__main__":
    main(sys.argv[1:])
