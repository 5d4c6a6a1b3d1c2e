"""Image classification data sets, and the same images read as sequences."""

from __future__ import annotations

from cfg.schema import DatasetParams

import math
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ckconv.errors import UsageError
from datasets.base import (
    Dataset,
    Request,
    Split,
    Splits,
    every_nth,
    fixed_tensor,
    sampled_length,
)
from datasets.batches.augmentations import Augmentation
from datasets.batches.sample_transforms import SampleTransforms
from datasets.batches.transforms import (
    Flatten,
    Normalise,
    Permute,
    Pipeline,
    RowsThenNoise,
)
from datasets.split import held_out_count, hold_out
from datasets.task import Task

PADDED_LENGTH = 1000  # steps of a noise-padded image
PERMUTATION_SEED = 0  # the published order: its weights know no other
NOISE_SEED = 1000
# The published normalisation of CIFAR and of ImageNet, whose statistics these are.
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass
class RawImages:
    """Pixels (N, C, H, W) and labels (N,), both uint8, as their authors split them."""

    train: NDArray
    train_labels: NDArray
    test: NDArray
    test_labels: NDArray


def image_pipeline(
    request: Request,
    size: tuple[int, int],
    normalise: Normalise,
    augmentations: Mapping[str, Augmentation],
) -> Pipeline:
    """Blur and augmentation at the stored size; then another size; then normalisation; then
    the augmentation of normalised images.
    """
    chosen = augmentations[request.augment] if request.augment else Augmentation(())
    resampling = request.resampling.of_images(size)
    return Pipeline(
        *resampling.before_augmentation(),
        *([SampleTransforms(request.transforms)] if request.transforms else []),
        *chosen.stored,
        *resampling.after_augmentation(),
        normalise,
        *chosen.normalised,
    )


class Images(Dataset):
    """Images of one size with 8-bit pixels, whatever they are read from."""

    channels: int
    size: tuple[int, int]
    classes: int
    class_names: tuple[str, ...] = ()
    train_total: int  # training samples, those for validation among them
    mean: tuple[float, ...]  # per channel, of pixel / scale
    std: tuple[float, ...]
    scale: float = 255.0
    resamples = True
    flags = frozenset({"transforms"})

    def held_out(self, params: DatasetParams, total: int | None = None) -> int:
        """The number of training samples, `total` or as published, kept for validation."""
        return held_out_count(total or self.train_total, params.val_fraction)

    def describe(self, request: Request) -> Task:
        return self.task_of(request, self.train_total, self.held_out(request.params), self.classes)

    def task_of(self, request: Request, total: int, held: int, classes: int) -> Task:
        """The task of `total` training samples of so many classes, `held` of them held out."""
        if (held and held < classes) or total - held < classes:
            raise UsageError(
                f"dataset_params.val_fraction={request.params.val_fraction}: of the "
                f"{total} training samples of {self.name} at least {classes} must be held out "
                "and as many trained on, or 0 held out"
            )
        request.check_transforms(self.channels, self.size)
        size = request.resampling.size or self.size
        names = self.class_names
        return Task(self.name, self.channels, classes, size, total - held, class_names=names)

    def pipeline(self, request: Request) -> Pipeline:
        """From stored pixels to the network's inputs."""
        normalise = Normalise(self.mean, self.std, self.scale)
        return image_pipeline(request, self.size, normalise, self.augmentations)


def divided(labels: NDArray, held: int) -> tuple[NDArray, NDArray | None]:
    """Indices of the samples to train on and of `held` that are held out, None for none."""
    return hold_out(labels, held) if held else (np.arange(len(labels)), None)


class ImageDataset(Images):
    """Images in memory, as uint8; `dataset_params.val_fraction` of the training set is held out
    for validation, stratified, the same samples in every run.
    """

    @abstractmethod
    def read(self, root: Path) -> RawImages:
        """The images under `root`, fetched first where they are missing."""

    def splits(self, request: Request, state: dict[str, Tensor] | None) -> Splits:
        raw = self.read(request.root)
        train, validation = divided(raw.train_labels, self.held_out(request.params))

        def split(pixels: NDArray, labels: NDArray, request: Request) -> Split:
            pipeline = self.pipeline(request)
            return Split(torch.from_numpy(pixels), torch.from_numpy(labels), pipeline)

        plain = request.unaugmented
        return Splits(
            split(raw.train[train], raw.train_labels[train], request),
            None
            if validation is None
            else split(raw.train[validation], raw.train_labels[validation], plain),
            split(raw.test, raw.test_labels, plain),
        )


class PixelSequence(Dataset):
    """The images of another data set, read row by row as one sequence of pixels.

    `permuted`: the steps in one random order, the same for all images. `noise_padded`: a row of
    the image is one step, then noise up to `PADDED_LENGTH` steps: standard normal, one draw that
    all images share (Chang et al., 2019).
    """

    def __init__(self, name: str, images: ImageDataset, variant: str | None = None):
        self.name = name
        self.images = images
        self.augmentations = {k: v for k, v in images.augmentations.items() if k == "resnet"}
        self.flags = images.flags | frozenset({"sr_train", "sr_test", variant} - {None})

    def describe(self, request: Request) -> Task:
        task = self.images.describe(request)
        channels, length = task.in_channels, math.prod(task.size)
        if request.params.noise_padded:
            channels, length = channels * task.size[1], PADDED_LENGTH
        length = sampled_length(length, request.every)
        return replace(task, name=self.name, in_channels=channels, size=(length,))

    def splits(self, request: Request, state: dict[str, Tensor] | None) -> Splits:
        params = request.params
        splits = self.images.splits(request, state)
        fixed = self._fixed(params, state)
        stages = self.stages(params, fixed)

        def sequence(split: Split, n: int) -> Split:
            return replace(split, pipeline=every_nth(split.pipeline.then(*stages), n))

        validation = splits.validation and sequence(splits.validation, params.sr_train)
        return Splits(
            sequence(splits.train, params.sr_train),
            validation,
            sequence(splits.test, params.sr_test),
            fixed,
        )

    def stages(self, params: DatasetParams, fixed: dict[str, Tensor]) -> list[nn.Module]:
        """What makes sequences of normalised images, with the tensors of `Splits.state`."""
        if params.noise_padded:
            return [RowsThenNoise(fixed["noise"])]
        if params.permuted:
            return [Flatten(), Permute(fixed["permutation"])]
        return [Flatten()]

    def _fixed(self, params: DatasetParams, state: dict[str, Tensor] | None) -> dict[str, Tensor]:
        """NumPy's RandomState keeps its streams over versions, so that the draws stay the same."""
        height, width = self.images.size
        if params.permuted:
            order = np.random.RandomState(PERMUTATION_SEED).permutation(height * width)
            order = torch.from_numpy(order.astype(np.int64))
            return {"permutation": fixed_tensor(state, "permutation", order)}
        if params.noise_padded:
            shape = (self.images.channels * width, PADDED_LENGTH - height)
            noise = torch.from_numpy(np.random.RandomState(NOISE_SEED).standard_normal(shape))
            return {"noise": fixed_tensor(state, "noise", noise.float())}
        return {}
