"""Data sets by name: `describe` says what one is, `build_loaders` loads it.

    task = describe(cfg)                # nothing is loaded; a config that cannot work stops here
    task, loaders = build_loaders(cfg)  # loaders.train.batches(epoch) yields (inputs, targets)

`cfg` is the run's config: `dataset`, `dataset_params`, `cross_res`, `train.batch_size`,
`train.augment` and `seed` are read. A data set is a class in a file of its own, and the file a line
in `FILES`; it is given a `Request`, not the config.
"""

from __future__ import annotations

from cfg.schema import Config, CrossRes, DatasetParams, Train

import dataclasses
from importlib import import_module
from typing import Any

import torch
from torch import Tensor

from ckconv import by_path, fields
from ckconv.errors import UsageError, check_choice
from datasets.base import Dataset, Request, Split
from datasets.batches.stream import loader_of
from datasets.task import Loader, Loaders, Task
from program import distributed

__all__ = [
    "DATASETS",
    "Loader",
    "Loaders",
    "Task",
    "build_loaders",
    "check_size",
    "describe",
    "own_loaders",
    "task_of",
]

# The table. Each file hands out its data sets as `DATASETS`.
FILES = (
    "digits",
    "mnist",
    "cifar",
    "stl10",
    "imagenet",
    "speech_commands",
    "char_trajectories",
    "physionet",
    "synthetic",
    "own.image_folder",
    "own.arrays",
    "own.time_series",
)
DATASETS: dict[str, Dataset] = {
    dataset.name: dataset
    for file in FILES
    for dataset in import_module(f"datasets.{file}").DATASETS
}
READ = {"dataset_params": DatasetParams, "cross_res": CrossRes, "train": Train}


def describe(cfg: Config, *, size: tuple[int, int] | None = None) -> Task:
    """The task that `cfg` asks for, without loading or fetching any data.

    `size` is the (height, width) that images are resized to, in place of `cross_res.resize`; of
    Imagenet-k it chooses the data set. Raises `UsageError` for an unknown data set and for flags
    that do not go together.
    """
    for part, kind in READ.items():
        fields.check(kind, getattr(cfg, part), f"{part}.")
    return task_of(cfg, size=size)


def task_of(cfg: Config, *, size: tuple[int, int] | None = None, every: int | None = None) -> Task:
    """The same, of a config whose numbers and words are in their ranges already.

    Of sequences, with every n-th step kept as `every` says, in place of `dataset_params.sr_train`.
    """
    dataset, request = _asked(cfg, size, every)
    _check_variants(dataset, request.params)
    dataset.check(request)
    return dataset.describe(request)


def check_size(cfg: Config, size: tuple[int, int]) -> None:
    """Raise `UsageError` where the images that `cfg` asks for cannot have a (height, width)."""
    dataset, request = _asked(cfg, size)
    dataset.check(request)


def build_loaders(
    cfg: Config,
    device: torch.device | str = "cpu",
    rank: int = 0,
    world_size: int = 1,
    state: dict[str, Tensor] | None = None,
    *,
    size: tuple[int, int] | None = None,
    task: Task | None = None,
) -> tuple[Task, Loaders]:
    """Load the data set of `cfg` onto `device`, for the process `rank` of `world_size`.

    `state` is the `Loaders.state` that a checkpoint kept: its permutation or noise is used again.
    `size` is as in `describe`; `task` is what that gave, where it was called before. The task
    that is returned counts the training samples that are there. Raises `UsageError` as `describe`
    does, and for data that are missing, damaged, or do not fit `state`.
    """
    task = task or describe(cfg, size=size)
    if cfg.train.batch_size % world_size:
        raise UsageError(
            f"train.batch_size={cfg.train.batch_size}: it is shared by {world_size} processes; "
            f"give a multiple of {world_size}"
        )
    dataset, request = _asked(cfg, size)
    splits = dataset.splits(request, state)

    def loader(split: Split, train: bool) -> Loader:
        place = {"rank": rank, "world_size": world_size, "device": device}
        order = {"batch_size": cfg.train.batch_size, "seed": cfg.seed, "train": train}
        return loader_of(split, cfg.dataset_params.workers, **order, **place)

    return dataclasses.replace(task, train_samples=len(splits.train.targets)), Loaders(
        loader(splits.train, train=True),
        splits.validation and loader(splits.validation, train=False),
        loader(splits.test, train=False),
        splits.state,
        splits.whole_normalisation(task),
    )


def own_loaders(
    cfg: Config,
    device: torch.device,
    state: dict[str, Tensor] | None = None,
    *,
    size: tuple[int, int] | None = None,
    task: Task | None = None,
) -> tuple[Task, Loaders]:
    """`build_loaders` for this process of the run; one of each machine goes first."""
    with distributed.first_on_machine():
        rank, processes = distributed.rank(), distributed.world_size()
        return build_loaders(cfg, device, rank, processes, state, size=size, task=task)


def _asked(
    cfg: Config, size: tuple[int, int] | None, every: int | None = None
) -> tuple[Dataset, Request]:
    """The data set by its name, and what the run asks of it."""
    return named(cfg.dataset), Request.of(cfg, size, every)


def named(name: str) -> Dataset:
    """The data set of a name in the table, or of a class as `package.module:Name`."""
    if not by_path.is_path(name):
        check_choice("dataset", name, DATASETS)
        return DATASETS[name]
    kind = by_path.find("dataset", name)
    if not (isinstance(kind, type) and issubclass(kind, Dataset)):
        raise UsageError(f"dataset={name}: is no class that inherits datasets.base.Dataset")
    return kind()


def is_own(name: str) -> bool:
    """Whether a data set is whatever lies at `dataset_params.root`: other data, another task."""
    return by_path.is_path(name) or (name in DATASETS and DATASETS[name].is_own)


def _check_variants(dataset: Dataset, params: DatasetParams) -> None:
    """Raise `UsageError` for a flag that asks for a variant which only other data sets have."""
    if DATASETS.get(dataset.name) is dataset and "options" not in dataset.flags:
        if params.options is not None:
            raise UsageError(
                f"dataset_params.options={params.options}: {dataset.name} reads no options; they "
                "are for a data set of your own, as dataset=package.module:Name"
            )
    for flag in sorted(set().union(*(other.flags for other in DATASETS.values()))):
        changed = _changed(getattr(params, flag), getattr(DatasetParams(), flag))
        if changed and flag not in dataset.flags:
            *others, last = (name for name, other in DATASETS.items() if flag in other.flags)
            owners = f"{', '.join(others)} and {last}" if others else last
            raise UsageError(
                f"dataset_params.{flag}{changed}: {dataset.name} has no such variant; "
                f"it is for {owners}"
            )


def _changed(value: Any, default: Any) -> str:
    """`=value` where it is not the default, `.name=value` of a group's first that is not."""
    if dataclasses.is_dataclass(default):
        parts = {n: _changed(getattr(value, n), own) for n, own in vars(default).items()}
        return next((f".{name}{changed}" for name, changed in parts.items() if changed), "")
    return "" if value == default else f"={value}"
