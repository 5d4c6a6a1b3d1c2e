"""ImageNet at 64, 32, 16 and 8 pixels (Chrabaszcz et al., 2017), from image files or batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ckconv.errors import UsageError
from datasets.base import Dataset, Request, Split, Splits
from datasets.batches.transforms import Gather, Pipeline
from datasets.files.plain_pickle import PlainUnpickler
from datasets.files.stored_images import (
    ArrayStore,
    Chunk,
    FolderStore,
    ImageStore,
    class_folders,
    has_cache,
    in_memory,
    open_cache,
    write_cache,
)
from datasets.images import Images
from datasets.split import held_out_count, hold_out
from datasets.task import Task

IMAGENET_K = "Imagenet-k"
RESOLUTIONS = (64, 32, 16, 8)
BATCHES = {  # the published files, without their extension
    "train": tuple(f"train_data_batch_{i}" for i in range(1, 11)),
    "val": ("val_data",),
}
EXTENSIONS = ("", ".npz")  # pickled, or NumPy's


def imagenet_of(resolution: int) -> str:
    """The name of the data set of a resolution. Raises `UsageError` where there is none."""
    if resolution not in RESOLUTIONS:
        raise UsageError(
            f"dataset={IMAGENET_K} at {resolution} pixels: there are 64, 32, 16 and 8; choose from "
            "them with cross_res.source_res and cross_res.target_res, or use dataset=Imagenet64"
        )
    return f"Imagenet{resolution}"


class Imagenet(Images):
    """The 1,281,167 training and 50,000 validation images at one resolution.

    In `root`/Imagenet32 (or imagenet32): folders `train` and `val` that hold a folder of PNG or
    JPEG files per class, of any number of classes; or the published batch files
    `train_data_batch_1` to `_10` and `val_data`, pickled or as .npz, which may also lie in
    `root`/Imagenet32_train and `root`/Imagenet32_val, where their archives put them. The
    validation images are the test set, as is usual.

    With `dataset_params.in_ram` all images are decoded once and kept on the device; with
    `from_cache` they are decoded once into a file, of 3 bytes per pixel, and read from there.
    With neither, image files are decoded as they are needed; batch files, which hold no image
    apart, are always cached.
    """

    channels, classes = 3, 1000
    train_total = 1_281_167
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    augmentations = ("resnet",)

    def __init__(self, resolution: int):
        self.name = f"Imagenet{resolution}"
        self.resolution = resolution
        self.size = (resolution, resolution)
        self.crop_padding = resolution // 8

    def describe(self, request: Request) -> Task:
        """The task by the folders of classes, where there are any; counts are the published."""
        train = self._folder(request.root) / "train"
        classes = len(class_folders(train)) if train.is_dir() else self.classes
        return self.task_of(request, self.train_total, self.held_out(request.params), classes)

    def splits(self, request: Request, state: dict[str, Tensor] | None) -> Splits:
        train_store, test_store = (self._store(request, part) for part in ("train", "val"))
        train, validation = np.arange(len(train_store.labels)), None
        held = held_out_count(len(train), request.params.val_fraction)
        self.task_of(request, len(train), held, len(np.unique(train_store.labels)))
        if held:
            train, validation = hold_out(train_store.labels, held)
        augmented = self.pipeline(request, request.augment)
        plain = self.pipeline(request, None)
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
        lower = root / self.name.lower()
        return lower if lower.is_dir() else root / self.name

    def _store(self, request: Request, part: str) -> ImageStore:
        """The images of `train` or `val`, where the flags want them."""
        params, root = request.params, request.root
        folder = self._folder(root)
        stem = folder / "cache" / part
        files = None if (folder / part).is_dir() else self._batch_files(root, part)
        if params.from_cache or (files and not params.in_ram):
            if not has_cache(stem):
                print(f"{self.name}: decoding the {part} images once, into {stem.parent}")
                write_cache(stem, self._chunks(request, folder, part, files))
            return open_cache(stem, self.resolution, params.in_ram)
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

    def _batch_files(self, root: Path, part: str) -> list[Path]:
        """The published files of `train` or `val`. Raises `UsageError` where one is missing."""
        folder = self._folder(root)
        places = [folder, *(root / f"{self.name}_{part}{end}" for end in ("", "_npz"))]
        for place in places:
            for extension in EXTENSIONS:
                paths = [place / f"{name}{extension}" for name in BATCHES[part]]
                missing = [path for path in paths if not path.is_file()]
                if not missing:
                    return paths
                if len(missing) < len(paths):
                    raise UsageError(f"{missing[0]}: is missing beside the other batch files")
        raise UsageError(
            f"{folder / part}: does not exist; put a folder of images per class there, or "
            f"{BATCHES[part][0]} and the other files of the downsampled ImageNet into {folder} "
            "(image-net.org has them), or set dataset_params.root"
        )


class ImagenetK(Dataset):
    """ImageNet at the resolution that is asked for, else at `cross_res.source_res`."""

    name = IMAGENET_K
    augmentations = Imagenet.augmentations
    resamples = True

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
        """The images of the resolution, and what is asked of them: another size no more."""
        resolution = request.size[0] if request.size else request.cross_res.source_res
        imagenet_of(resolution)
        return Imagenet(resolution), replace(request, size=None)


def read_batch(path: Path, resolution: int) -> Chunk:
    """A published batch file: pixels (n, 3, H, W) and labels from 0 on.

    Raises `UsageError` naming the file where it is damaged, holds more than arrays, or is of
    another resolution.
    """
    try:
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as arrays:
                pixels, labels = arrays["data"], arrays["labels"]
        else:
            with open(path, "rb") as file:
                content: Any = PlainUnpickler(file, encoding="latin1").load()
            pixels, labels = content["data"], content["labels"]
        labels = np.asarray(labels, np.int64) - 1  # stored from 1 on
    except MemoryError:
        raise
    except Exception as error:  # whatever damaged bytes make the unpickler raise
        raise UsageError(f"{path}: is damaged ({error}); put an intact copy there") from error
    return _checked(path, pixels, labels, resolution)


def _checked(path: Path, pixels: Any, labels: NDArray, resolution: int) -> Chunk:
    width = 3 * resolution * resolution
    is_pixels = isinstance(pixels, np.ndarray) and pixels.dtype == np.uint8
    if not is_pixels or pixels.ndim != 2 or pixels.shape[1] != width:
        raise UsageError(
            f"{path}: does not hold images of {resolution} x {resolution} pixels, {width} bytes "
            "each; put the files of this resolution there"
        )
    valid = labels.shape == (len(pixels),) and len(labels) > 0
    if not valid or not 0 <= labels.min() <= labels.max() < Imagenet.classes:
        raise UsageError(
            f"{path}: is damaged: it does not hold a label from 1 to {Imagenet.classes} for each "
            f"of its {len(pixels)} images"
        )
    return pixels.reshape(-1, 3, resolution, resolution), labels.astype(np.int16)


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
