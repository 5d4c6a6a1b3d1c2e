"""What every data set is: a description before anything is loaded, and its splits after."""

from __future__ import annotations

from cfg.schema import Config, CrossRes, DatasetParams

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import TypeVar

import torch
from torch import Tensor

from ckconv.errors import UsageError
from datasets.batches.augmentations import Augmentation
from datasets.batches.resample import Resampling
from datasets.batches.sample_transforms import Transform, build_transforms, check_transforms
from datasets.batches.transforms import EveryNth, Normalise, Pipeline
from datasets.files.stored_images import ImageStore
from datasets.task import Normalisation, Task

Length = TypeVar("Length", int, Tensor)
NO_AUGMENTATION = (None, "", "None", "none", "null")
DEFAULT_ROOT = Path(__file__).resolve().parent.parent / "data"


@dataclass(frozen=True)
class Request:
    """What a run asks of a data set.

    `augment` is the name of an augmentation, None for none. `size` is the (height, width) that
    images shall have, in place of what `cross_res.resize` says. `transforms` are the user's own.
    Of sequences every n-th step is described, n being `every`, or `sr_train`.
    """

    params: DatasetParams
    cross_res: CrossRes
    augment: str | None = None
    size: tuple[int, int] | None = None
    transforms: tuple[Transform, ...] = ()
    every: int = 1

    @classmethod
    def of(
        cls, cfg: Config, size: tuple[int, int] | None = None, every: int | None = None
    ) -> Request:
        """What the config of a run asks. Raises `UsageError` for transforms that cannot be."""
        augment = None if cfg.train.augment in NO_AUGMENTATION else cfg.train.augment
        params = cfg.dataset_params
        transforms = build_transforms(params.transforms)
        return cls(params, cfg.cross_res, augment, size, transforms, every or params.sr_train)

    @cached_property
    def resampling(self) -> Resampling:
        """How the stored images are changed."""
        return Resampling.of(self.cross_res, self.size)

    @property
    def unaugmented(self) -> Request:
        """The same for samples that are not trained on."""
        return replace(self, augment=None, transforms=())

    def check_transforms(self, channels: int, size: tuple[int, int]) -> None:
        """Raise `UsageError` for transforms that do not take images (channels, *size)."""
        check_transforms(self.transforms, channels, size)

    @property
    def root(self) -> Path:
        """The folder that holds all data sets: as given, else data/ in the repository."""
        given = self.params.root
        return Path(given).expanduser() if given else DEFAULT_ROOT


@dataclass
class Split:
    """Stored samples and the pipeline that makes the network's inputs of them.

    With a `store` the samples stay on disk, and `inputs` are their indices in it. `lengths` are
    those of padded sequences, without the padding, as the network sees them.
    """

    inputs: Tensor  # (N, ...), of any type
    targets: Tensor  # (N, ...)
    pipeline: Pipeline = field(default_factory=Pipeline)
    store: ImageStore | None = None
    lengths: Tensor | None = None  # (N,)


@dataclass
class Splits:
    """A data set in memory. `state`: the fixed random tensors that its pipelines use.

    `normalisation`: what the stored samples have passed already, if their pipelines have no stage
    for it.
    """

    train: Split
    validation: Split | None
    test: Split
    state: dict[str, Tensor] = field(default_factory=dict)
    normalisation: Normalisation | None = None

    def whole_normalisation(self, task: Task) -> Normalisation | None:
        """What the network's inputs have passed; None where a stage after it mixes channels."""
        for stage in self.test.pipeline.stages:
            if isinstance(stage, Normalise) and stage.mean.numel() == task.in_channels:
                shape = (-1, *[1] * task.dim)
                return Normalisation(stage.mean.view(shape), stage.std.view(shape), stage.scale)
        return self.normalisation


class Dataset(ABC):
    """A data set by name.

    `flags` are those of `dataset_params` that ask for a variant of it; a flag that is in no
    other's `flags` either means something for all. A data set in the table that reads `options`
    names them there too. `resamples`: whether it can change the resolution of its samples.
    `is_own`: whether what they are depends on `dataset_params.root`.
    """

    name: str
    flags: frozenset[str] = frozenset()
    augmentations: Mapping[str, Augmentation] = MappingProxyType({})
    resamples: bool = False
    is_own: bool = False

    @abstractmethod
    def describe(self, request: Request) -> Task:
        """The task, without touching any data. Raises `UsageError` for flags that do not fit."""

    @abstractmethod
    def splits(self, request: Request, state: dict[str, Tensor] | None) -> Splits:
        """Load the data. `state` is what an earlier call's `Splits.state` held."""

    def check(self, request: Request) -> None:
        """Raise `UsageError` for what this data set cannot honour."""
        if request.resampling and not self.resamples:
            raise UsageError(f"{request.resampling.flag}: {self.name} has no images to resample")
        if request.augment is not None and request.augment not in self.augmentations:
            choices = " or ".join(("None", *self.augmentations))
            raise UsageError(f"train.augment={request.augment}: for {self.name} choose {choices}")


def every_nth(pipeline: Pipeline, n: int) -> Pipeline:
    """The pipeline at another sampling rate."""
    return pipeline.then(EveryNth(n)) if n > 1 else pipeline


def sampled_length(length: Length, n: int) -> Length:
    """The number of steps that are left of `length` when every n-th is kept."""
    return -(-length // n)


def fixed_tensor(state: dict[str, Tensor] | None, name: str, drawn: Tensor) -> Tensor:
    """The tensor that a checkpoint brought, else the one just drawn.

    Raises `UsageError` where the checkpoint's does not fit this data set: whole numbers are an
    order of those that were drawn, others finite, and above 0 where all that were drawn are.
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
    kept = kept.cpu()
    if drawn.is_floating_point():
        fits = bool(kept.isfinite().all()) and bool((kept > 0).all() or not (drawn > 0).all())
    else:
        fits = torch.equal(kept.sort().values, drawn.sort().values)
    if not fits:
        raise UsageError(
            f"the checkpoint's {name} is damaged: its values cannot be those of a run; give the "
            "checkpoint of another epoch, or start a new run"
        )
    return kept
