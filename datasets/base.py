"""What every data set is: a description before anything is loaded, and its splits after."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ckconv.errors import UsageError
from datasets.batches.resample import is_resampling
from datasets.batches.transforms import EveryNth, Pipeline
from datasets.files.stored_images import ImageStore
from datasets.task import Task

DEFAULT_ROOT = Path(__file__).resolve().parent.parent / "data"
SAMPLING_RATES = (1, 2, 4, 8)

# Flags of `dataset_params` that only some data sets have: their value when off, and who has them.
SPECIAL_FLAGS = {
    "permuted": (False, "sMNIST"),
    "noise_padded": (False, "sCIFAR10"),
    "mfcc": (False, "SpeechCommands"),
    "drop_rate": (0, "SpeechCommands and CharTrajectories"),
    "sr_train": (1, "sequences of samples in time"),
    "sr_test": (1, "sequences of samples in time"),
}


@dataclass
class Split:
    """Stored samples and the pipeline that makes the network's inputs of them.

    With a `store` the samples stay on disk, and `inputs` are their indices in it.
    """

    inputs: Tensor  # (N, ...), of any type
    targets: Tensor  # (N, ...)
    pipeline: Pipeline = field(default_factory=Pipeline)
    store: ImageStore | None = None


@dataclass
class Splits:
    """A data set in memory. `state`: the fixed random tensors that its pipelines use."""

    train: Split
    validation: Split | None
    test: Split
    state: dict[str, Tensor] = field(default_factory=dict)


class Dataset(ABC):
    """A data set by name; `flags` are those of `SPECIAL_FLAGS` that mean something for it."""

    name: str
    flags: frozenset[str] = frozenset()
    augmentations: tuple[str, ...] = ()
    resamples: bool = False  # whether it can change the resolution of its samples

    @abstractmethod
    def describe(self, cfg: Any) -> Task:
        """The task, without touching any data. Raises `UsageError` for flags that do not fit."""

    @abstractmethod
    def splits(self, cfg: Any, state: dict[str, Tensor] | None) -> Splits:
        """Load the data. `state` is what an earlier call's `Splits.state` held."""

    def check(self, cfg: Any) -> None:
        """Raise `UsageError` for flags that this data set cannot honour."""
        params = cfg.dataset_params
        for flag, (off, owners) in SPECIAL_FLAGS.items():
            value = getattr(params, flag)
            if value != off and flag not in self.flags:
                raise UsageError(
                    f"dataset_params.{flag}={value}: {self.name} has no such variant; "
                    f"it is for {owners}"
                )
        for flag in ("sr_train", "sr_test"):
            if getattr(params, flag) not in SAMPLING_RATES:
                raise UsageError(
                    f"dataset_params.{flag}={getattr(params, flag)}: "
                    "every n-th sample is kept; choose n from 1, 2, 4, 8"
                )
        if not 0 <= params.drop_rate <= 99:
            raise UsageError(
                f"dataset_params.drop_rate={params.drop_rate}: give a percentage from 0 to 99"
            )
        if not 0 <= params.val_fraction < 1:
            raise UsageError(
                f"dataset_params.val_fraction={params.val_fraction}: "
                "give a fraction from 0 to below 1"
            )
        if not self.resamples and is_resampling(cfg):
            flag = "blur=True" if cfg.cross_res.blur else f"resize={cfg.cross_res.resize}"
            raise UsageError(f"cross_res.{flag}: {self.name} has no images to resample")
        augmentation(cfg, self)


def augmentation(cfg: Any, dataset: Dataset) -> str | None:
    """`train.augment`, None for none. Raises `UsageError` where `dataset` does not have it."""
    name = cfg.train.augment
    if name in (None, "", "None", "none", "null"):
        return None
    if name not in dataset.augmentations:
        choices = " or ".join(("None", *dataset.augmentations))
        raise UsageError(f"train.augment={name}: for {dataset.name} choose {choices}")
    return name


def data_root(cfg: Any) -> Path:
    """The folder that holds all data sets: `dataset_params.root`, else data/ in the repository."""
    given = cfg.dataset_params.root
    return Path(given).expanduser() if given else DEFAULT_ROOT


def every_nth(pipeline: Pipeline, n: int) -> Pipeline:
    """The pipeline at another sampling rate."""
    return pipeline.then(EveryNth(n)) if n > 1 else pipeline


def sampled_length(length: int, n: int) -> int:
    """The number of steps that are left of `length` when every n-th is kept."""
    return -(-length // n)


def fixed_tensor(state: dict[str, Tensor] | None, name: str, drawn: Tensor) -> Tensor:
    """The tensor that a checkpoint brought, else the one just drawn.

    Raises `UsageError` where the checkpoint's does not fit this data set.
    """
    if not state or name not in state:
        return drawn
    kept = torch.as_tensor(state[name])
    if kept.shape != drawn.shape or kept.dtype != drawn.dtype:
        raise UsageError(
            f"the checkpoint's {name} has the shape {tuple(kept.shape)} and type {kept.dtype}, "
            f"this data set needs {tuple(drawn.shape)} and {drawn.dtype}: "
            "the checkpoint belongs to another data set"
        )
    return kept.cpu()
