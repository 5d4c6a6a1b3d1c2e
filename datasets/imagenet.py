"""ImageNet at 64, 32, 16 and 8 pixels (Chrabaszcz et al., 2017), from image files or batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ckconv.errors import UsageError
from datasets.base import Dataset, Request, Split, Splits
from datasets.batches.augmentations import Augmentation, FlipCrop
from datasets.batches.transforms import Gather, Pipeline
from datasets.files.imagenet_batches import CLASSES, batch_files, read_batch
from datasets.files.stored_images import (
    ArrayStore,
    Chunk,
    FolderStore,
    ImageStore,
    cached_images,
    class_folders,
    in_memory,
)
from datasets.images import IMAGENET_MEAN, IMAGENET_STD, Images, divided
from datasets.task import Task

IMAGENET_K = "Imagenet-k"
RESOLUTIONS = (64, 32, 16, 8)


class Imagenet(Images):
    """The 1,281,167 training and 50,000 validation images at one resolution.

    In `root`/Imagenet32 (or imagenet32), or in `root` where that is such a folder or would be one
    with Imagenet32 for Imagenet-k in its path: folders `train` and `val` that hold a folder of PNG
    or JPEG files per class, of any number of classes; or the published batch files
    `train_data_batch_1` to `_10` and `val_data`, pickled or as .npz, which may also lie beside
    that folder in Imagenet32_train and Imagenet32_val, where their archives put them. The
    validation images are the test set, as is usual.

    With `dataset_params.in_ram` all images are decoded once and kept on the device; with
    `from_cache` they are decoded once into a file, of 3 bytes per pixel, and read from there.
    With neither, image files are decoded as they are needed; batch files, which hold no image
    apart, are always cached.
    """

    channels, classes = 3, CLASSES
    train_total = 1_281_167
    mean, std = IMAGENET_MEAN, IMAGENET_STD

    def __init__(self, resolution: int):
        self.name = f"Imagenet{resolution}"
        self.resolution = resolution
        self.size = (resolution, resolution)
        self.augmentations = {"resnet": Augmentation((FlipCrop(resolution // 8),))}

    def describe(self, request: Request) -> Task:
        """The task by the folders of classes, where there are any; counts are the published."""
        train = self._folder(request.root) / "train"
        classes = len(class_folders(train)) if train.is_dir() else self.classes
        return self.task_of(request, self.train_total, self.held_out(request.params), classes)

    def splits(self, request: Request, state: dict[str, Tensor] | None) -> Splits:
        train_store, test_store = (self._store(request, part) for part in ("train", "val"))
        labels = train_store.labels
        held = self.held_out(request.params, len(labels))
        self.task_of(request, len(labels), held, len(np.unique(labels)))
        train, validation = divided(labels, held)
        augmented = self.pipeline(request)
        plain = self.pipeline(request.unaugmented)
        first = _first_stages(train_store)
        return Splits(
            _split(train_store, train, Pipeline(*first, *augmented.stages)),
            None
            if validation is None
            else _split(train_store, validation, Pipeline(*first, *plain.stages)),
            _split(
                test_store,
                np.arange(len(test_store.labels)),
                Pipeline(*_first_stages(test_store), *plain.stages),
            ),
        )

    def _folder(self, root: Path) -> Path:
        """The data set's own folder: in `root`, or `root` itself, there also called Imagenet-k."""
        for folder in (root / self.name.lower(), root / self.name):
            if folder.is_dir():
                return folder
        own = Path(str(root).replace(IMAGENET_K, self.name))
        return own if own.name.lower() == self.name.lower() else root / self.name

    def _store(self, request: Request, part: str) -> ImageStore:
        """The images of `train` or `val`, where the flags want them."""
        params, folder = request.params, self._folder(request.root)
        stem = folder / "cache" / part
        files = None if (folder / part).is_dir() else batch_files(folder, self.name, part)
        if params.from_cache or (files and not params.in_ram):
            sources = files or [folder / part, *sorted((folder / part).iterdir())]
            classes = self.classes if files else len(class_folders(folder / "train"))
            chunks = partial(self._chunks, request, folder, part, files)
            store = cached_images(stem, sources, chunks, self.resolution, classes)
            return in_memory(store.chunks(), self.resolution) if params.in_ram else store
        if params.in_ram:
            return in_memory(self._chunks(request, folder, part, files), self.resolution)
        return self._folder_store(folder, part)

    def _chunks(
        self, request: Request, folder: Path, part: str, files: Sequence[Path] | None
    ) -> Iterator[Chunk]:
        """All images of `train` or `val`, in pieces."""
        if files is None:
            return self._folder_store(folder, part).chunks(request.params.workers)
        return (read_batch(path, self.resolution) for path in files)

    def _folder_store(self, folder: Path, part: str) -> FolderStore:
        return FolderStore(folder / part, class_folders(folder / "train"), self.resolution)


class ImagenetK(Dataset):
    """ImageNet at the resolution that is asked for, else at `cross_res.source_res`."""

    name = IMAGENET_K

    def check(self, request: Request) -> None:
        images, request = self._chosen(request)
        images.check(request)

    def describe(self, request: Request) -> Task:
        images, request = self._chosen(request)
        return images.describe(request)

    def splits(self, request: Request, state: dict[str, Tensor] | None) -> Splits:
        images, request = self._chosen(request)
        return images.splits(request, state)

    def _chosen(self, request: Request) -> tuple[Imagenet, Request]:
        """The images of the resolution, and what is asked of them: no other size by argument."""
        resolution = request.size[0] if request.size else request.cross_res.source_res
        if resolution not in RESOLUTIONS:
            raise UsageError(
                f"dataset={self.name} at {resolution} pixels: there are 64, 32, 16 and 8; choose "
                "from them with cross_res.source_res and cross_res.target_res, or use "
                "dataset=Imagenet64"
            )
        images = Imagenet(resolution)
        return images, replace(request, size=images.size) if request.size else request


def _first_stages(store: ImageStore) -> list[torch.nn.Module]:
    """What turns a loader's samples, which are indices, into pixels where those are in memory."""
    return [Gather(torch.from_numpy(store.pixels))] if _is_in_memory(store) else []


def _is_in_memory(store: ImageStore) -> bool:
    return isinstance(store, ArrayStore) and not isinstance(store.pixels, np.memmap)


def _split(store: ImageStore, indices: NDArray, pipeline: Pipeline) -> Split:
    targets = torch.from_numpy(store.labels[indices])
    stays_on_disk = None if _is_in_memory(store) else store
    return Split(torch.from_numpy(indices), targets, pipeline, stays_on_disk)


DATASETS = (*(Imagenet(resolution) for resolution in RESOLUTIONS), ImagenetK())
