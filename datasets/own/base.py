"""What one's own data sets share: the task that the data make, the split, the normalisation."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ckconv.errors import UsageError
from datasets.base import Dataset, Request, Split, Splits, fixed_tensor
from datasets.batches.augmentations import (
    Augmentation,
    DigitDistortion,
    FlipCrop,
    RandomErasing,
)
from datasets.batches.transforms import Normalise, Pipeline
from datasets.files.stored_images import ImageStore
from datasets.images import image_pipeline
from datasets.own.partition import Partition, partition
from datasets.own.statistics import channel_statistics, chunked
from datasets.task import Task

TRAIN, VALIDATION, TEST = "train", "validation", "test"
CROP_DIVISOR = 8  # augmentation `resnet` shifts by up to this part of the shorter side
ERASED = 4 / 28  # augmentation `standard` erases this part of an image


def _augmentations(size: tuple[int, int]) -> dict[str, Augmentation]:
    """The augmentations of images of a size, by their names in `train.augment`."""
    return {
        "resnet": Augmentation((FlipCrop(min(size) // CROP_DIVISOR),)),
        "standard": Augmentation((DigitDistortion(),), (RandomErasing(ERASED),)),
    }


@dataclass
class Part:
    """Samples as they are stored: in memory, or in files that a store reads."""

    targets: NDArray  # (N,) classes, (N, K) numbers, (N, L) a class per step
    inputs: NDArray | None = None  # (N, C, *size), uint8 or float32
    store: ImageStore | None = None
    lengths: NDArray | None = None  # (N,), of sequences that are padded behind their last step

    @property
    def whole_lengths(self) -> NDArray:
        """The lengths of sequences, also of those that are not padded."""
        if self.lengths is not None:
            return self.lengths
        return np.full(len(self.targets), self.inputs.shape[-1])


@dataclass
class Content:
    """What lies at `dataset_params.root`.

    `parts` are train and, where the data have them, validation and test. `class_names` are those
    of the targets, empty where targets are numbers. With a `step` the last channel holds the times
    of the samples, which the networks count in such steps.
    """

    parts: dict[str, Part]
    channels: int
    size: tuple[int, ...]
    class_names: tuple[str, ...] = ()
    step: float | None = None

    @property
    def padded(self) -> bool:
        """Whether sequences have lengths of their own."""
        return any(part.lengths is not None for part in self.parts.values())

    @property
    def scale(self) -> float:
        """What stored values are divided by first: 255 for pixels of 8 bits."""
        train = self.parts[TRAIN]
        is_8_bit = train.inputs is None or train.inputs.dtype == np.uint8
        return 255.0 if is_8_bit and len(self.size) == 2 else 1.0


class OwnData(Dataset):
    """One's own samples. `dataset_params.val_fraction` of the training samples are held out for
    validation, and before that 15 % for the test, where the data have no such part.

    Channels are normalised by the mean and standard deviation of all but the test samples, which
    are kept in the checkpoints.
    """

    augmentations = _augmentations((1, 1))  # by name; the data decide the size
    resamples = True
    is_own = True

    @abstractmethod
    def content(self, request: Request) -> Content:
        """Look at the data. Raises `UsageError`, with the file and the row, for what is wrong."""

    def loaded(self, part: Part, request: Request) -> Part:
        """The part with its samples in memory, where they shall be."""
        return part

    def statistics(self, part: Part, indices: NDArray, request: Request) -> dict[str, Tensor]:
        """Mean and standard deviation of the channels of some samples."""
        return channel_statistics(chunked(part.inputs, indices, part.lengths))

    def check(self, request: Request) -> None:
        super().check(request)
        if not request.params.root:
            raise UsageError(
                f"dataset={self.name}: give the data, as dataset_params.root=path/of/the/data"
            )

    def describe(self, request: Request) -> Task:
        content = self.content(request)
        _check_axes(self.name, content, request)
        targets = content.parts[TRAIN].targets
        size = content.size
        if len(size) == 2:
            request.check_transforms(content.channels, size)
            size = request.resampling.size or size
        classes = bool(content.class_names)
        return Task(
            self.name,
            content.channels,
            len(content.class_names) if classes else targets.shape[1],
            size,
            len(_partition(content, request).train),
            loss="cross_entropy" if classes else "mse",
            metric="accuracy" if classes else "mse",
            per_step=classes and targets.ndim == 2,
            class_names=content.class_names,
            timed=content.step is not None,
            padded=content.padded,
        )

    def splits(self, request: Request, state: dict[str, Tensor] | None) -> Splits:
        content = self.content(request)
        parts = {name: self.loaded(part, request) for name, part in content.parts.items()}
        own = _partition(content, request)
        indices = {TRAIN: own.train, VALIDATION: own.validation, TEST: own.test}
        source = {name: name if name in parts else TRAIN for name in indices}
        for name in (VALIDATION, TEST):
            if name in parts:
                indices[name] = np.arange(len(parts[name].targets))
        learned = own.train if own.validation is None else np.append(own.train, own.validation)
        fixed = self.statistics(parts[TRAIN], learned, request)
        if content.step is not None:
            fixed["mean"][-1], fixed["std"][-1] = 0.0, content.step
        scale = content.scale
        fixed = {name: fixed_tensor(state, name, x / scale) for name, x in fixed.items()}

        def split(name: str, request: Request) -> Split:
            chosen, part = indices[name], parts[source[name]]
            inputs = chosen if part.inputs is None else part.inputs[chosen]
            lengths = part.whole_lengths[chosen] if content.padded else None
            return Split(
                torch.from_numpy(inputs),
                torch.from_numpy(part.targets[chosen]),
                self.pipeline(request, fixed, content),
                part.store if part.inputs is None else None,
                None if lengths is None else torch.from_numpy(lengths),
            )

        plain = request.unaugmented
        validation = None if indices[VALIDATION] is None else split(VALIDATION, plain)
        return Splits(split(TRAIN, request), validation, split(TEST, plain), fixed)

    def pipeline(self, request: Request, fixed: dict[str, Tensor], content: Content) -> Pipeline:
        """From stored samples (B, C, *size) to the network's inputs."""
        mean, std, dim = fixed["mean"].tolist(), fixed["std"].tolist(), len(content.size)
        normalise = Normalise(mean, std, content.scale, dim)
        if dim != 2:
            return Pipeline(normalise)
        return image_pipeline(request, content.size, normalise, _augmentations(content.size))


def _partition(content: Content, request: Request) -> Partition:
    """The training part's indices, by what they are for."""
    fraction = 0.0 if VALIDATION in content.parts else request.params.val_fraction
    targets = content.parts[TRAIN].targets
    return partition(
        targets, TEST in content.parts, fraction, f"dataset_params.root={request.root}"
    )


def _check_axes(name: str, content: Content, request: Request) -> None:
    """Raise `UsageError` for what only images can have, and for samples that no network takes."""
    size = " x ".join(map(str, content.size))
    if len(content.size) > 3:
        raise UsageError(
            f"dataset_params.root={request.root}: its samples are {size}; the networks take "
            "sequences, of length L, images, H x W, and volumes, D x H x W"
        )
    if len(content.size) == 2:
        return
    asked = (
        request.resampling.flag if request.resampling else "",
        f"train.augment={request.augment}" if request.augment else "",
        "dataset_params.transforms" if request.transforms else "",
    )
    for flag in filter(None, asked):
        raise UsageError(f"{flag}: is for images; {name} of {request.root} holds samples of {size}")
