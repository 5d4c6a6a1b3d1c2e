"""A task small enough to train in milliseconds: which of three rows has the highest mean."""

from __future__ import annotations

from cfg.schema import Config

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from datasets.task import Loaders, Task

TASK = Task("Rows", in_channels=3, out_channels=6, size=(4,), train_samples=50)


@dataclass
class ListLoader:
    """Batches of tensors, in an order that depends on the epoch alone."""

    inputs: Tensor
    targets: Tensor
    batch_size: int = 8
    shuffled: bool = False

    @property
    def num_samples(self) -> int:
        return len(self.targets)

    def __len__(self) -> int:
        return -(-len(self.targets) // self.batch_size)

    def batches(self, epoch: int = 0, start: int = 0):
        order = torch.arange(len(self.targets))
        if self.shuffled:
            order = torch.randperm(len(order), generator=torch.Generator().manual_seed(epoch))
        for indices in list(order.split(self.batch_size))[start:]:
            yield self.inputs[indices], self.targets[indices]


class NullLog:
    """Keeps the rows of the epochs."""

    def __init__(self) -> None:
        self.rows = []

    def state(self) -> dict:
        return {"wandb_id": None}

    def resume(self, progress) -> None:
        self.rows = list(progress.history)

    def epoch(self, progress) -> None:
        self.rows.append(progress.history[-1])

    def __enter__(self) -> NullLog:
        return self

    def __exit__(self, *_: object) -> None:
        pass


def make_loaders(validation: bool = True) -> Loaders:
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(90, 3, 4, generator=generator)  # (N, C, L)
    targets = inputs.mean(-1).argmax(1)
    return Loaders(
        ListLoader(inputs[:50], targets[:50], shuffled=True),
        ListLoader(inputs[50:70], targets[50:70]) if validation else None,
        ListLoader(inputs[70:], targets[70:]),
    )


def make_config(**train) -> Config:
    config = Config()
    for name, value in {"epochs": 4, **train}.items():
        setattr(config.train, name, value)
    return config


def make_model(seed: int = 0, dropout: float = 0.2) -> nn.Module:
    """The same small network for the same seed."""
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Flatten(), nn.Linear(12, 16), nn.Tanh(), nn.Dropout(dropout), nn.Linear(16, 6)
    )
