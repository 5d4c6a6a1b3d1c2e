"""Data sets by name: `describe` says what one is, `build_loaders` loads it.

    task = describe(cfg)                # nothing is loaded; a config that cannot work stops here
    task, loaders = build_loaders(cfg)  # loaders.train.batches(epoch) yields (inputs, targets)

`cfg` is the run's config: `dataset`, `dataset_params`, `train.batch_size`, `train.augment` and
`seed` are read. A data set is one class in a file of its own and one line in `DATASETS`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from ckconv.errors import UsageError, check_choice
from datasets.base import Dataset, Split
from datasets.batches.loader import TensorLoader
from datasets.batches.stream import StreamLoader
from datasets.char_trajectories import CharTrajectories
from datasets.cifar import CIFAR10, CIFAR100
from datasets.digits import Digits
from datasets.imagenet import IMAGENET_K, RESOLUTIONS, Imagenet, imagenet_of
from datasets.images import PixelSequence
from datasets.mnist import MNIST
from datasets.speech_commands import SpeechCommands
from datasets.stl10 import STL10
from datasets.synthetic import AddProblem, CopyMemory
from datasets.task import Loader, Loaders, Task

__all__ = ["DATASETS", "Loader", "Loaders", "Task", "build_loaders", "describe"]

DATASETS: dict[str, Dataset] = {
    dataset.name: dataset
    for dataset in (
        Digits(),
        MNIST(),
        CIFAR10(),
        CIFAR100(),
        STL10(),
        *(Imagenet(resolution) for resolution in RESOLUTIONS),
        PixelSequence("sDigits", Digits()),
        PixelSequence("sMNIST", MNIST(), "permuted"),
        PixelSequence("sCIFAR10", CIFAR10(), "noise_padded"),
        SpeechCommands(),
        CharTrajectories(),
        AddProblem(),
        CopyMemory(),
    )
}


def describe(cfg: Any) -> Task:
    """The task that `cfg` asks for, without loading or fetching any data.

    Raises `UsageError` for an unknown data set and for flags that do not go together.
    """
    dataset = _dataset(cfg)
    if cfg.train.batch_size < 1:
        raise UsageError(f"train.batch_size={cfg.train.batch_size}: give a number of at least 1")
    return dataset.describe(cfg)


def _dataset(cfg: Any) -> Dataset:
    """The data set by its name; Imagenet-k is the one of the resolution `cross_res.source_res`."""
    if cfg.dataset == IMAGENET_K:
        return DATASETS[imagenet_of(cfg.cross_res.source_res)]
    check_choice("dataset", cfg.dataset, (*DATASETS, IMAGENET_K))
    return DATASETS[cfg.dataset]


def build_loaders(
    cfg: Any,
    device: torch.device | str = "cpu",
    rank: int = 0,
    world_size: int = 1,
    state: dict[str, Tensor] | None = None,
) -> tuple[Task, Loaders]:
    """Load the data set of `cfg` onto `device`, for the process `rank` of `world_size`.

    `state` is the `Loaders.state` that a checkpoint kept: its permutation or noise is used again.
    Raises `UsageError` as `describe` does, and for data that are missing, damaged, or do not fit
    `state`.
    """
    task = describe(cfg)
    if cfg.train.batch_size % world_size:
        raise UsageError(
            f"train.batch_size={cfg.train.batch_size}: it is shared by {world_size} processes; "
            f"give a multiple of {world_size}"
        )
    splits = _dataset(cfg).splits(cfg, state)
    task = replace(task, train_samples=len(splits.train.targets))

    def loader(split: Split, train: bool = False) -> TensorLoader:
        samples = (split.inputs, split.targets, split.pipeline)
        settings = {
            "batch_size": cfg.train.batch_size,
            "train": train,
            "seed": cfg.seed,
            "rank": rank,
            "world_size": world_size,
            "device": device,
        }
        if split.store is None:
            return TensorLoader(*samples, **settings)
        return StreamLoader(split.store, *samples, workers=cfg.dataset_params.workers, **settings)

    return task, Loaders(
        loader(splits.train, train=True),
        loader(splits.validation) if splits.validation else None,
        loader(splits.test),
        splits.state,
    )
