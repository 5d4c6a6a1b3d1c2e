"""This process's part of the data."""

from __future__ import annotations

from cfg.schema import Config

import torch
from torch import Tensor

from datasets import build_loaders
from datasets.task import Loaders, Task
from program import distributed


def own_loaders(
    cfg: Config,
    device: torch.device,
    state: dict[str, Tensor] | None = None,
    *,
    size: tuple[int, int] | None = None,
    task: Task | None = None,
) -> tuple[Task, Loaders]:
    """`datasets.build_loaders` for this process of the run; one of each machine goes first."""
    with distributed.first_on_machine():
        rank, processes = distributed.rank(), distributed.world_size()
        return build_loaders(cfg, device, rank, processes, state, size=size, task=task)
