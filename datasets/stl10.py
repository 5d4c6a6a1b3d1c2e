"""STL-10: 13,000 labelled colour images of 96 x 96 pixels, ten classes (Coates et al., 2011)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ckconv.errors import UsageError
from datasets.batches.augmentations import Augmentation, Cutout, FlipCrop
from datasets.files.download import obtain_published, read_file
from datasets.images import ImageDataset, RawImages

FILES = ("train_X.bin", "train_y.bin", "test_X.bin", "test_y.bin")


class STL10(ImageDataset):
    """The labelled images of `root`/stl10_binary, where torchvision puts them.

    They are read here: torchvision's data set wants the 2.5 GB of images without labels too, and
    reads all of it at every start to check it.
    """

    name = "STL10"
    channels, size, classes = 3, (96, 96), 10
    class_names = tuple("airplane bird car cat deer dog horse monkey ship truck".split())
    train_total, test_total = 5_000, 8_000
    mean, std = (0.4467, 0.4398, 0.4066), (0.2603, 0.2566, 0.2713)
    augmentations = {"resnet": Augmentation((FlipCrop(12),), (Cutout(32),))}

    def read(self, root: Path) -> RawImages:
        folder = root / "stl10_binary"
        obtain_published(self.name, folder, FILES)
        return RawImages(
            self._pixels(folder / "train_X.bin", self.train_total),
            self._labels(folder / "train_y.bin", self.train_total),
            self._pixels(folder / "test_X.bin", self.test_total),
            self._labels(folder / "test_y.bin", self.test_total),
        )

    def _pixels(self, path: Path, count: int) -> NDArray:
        """The file keeps an image column by column."""
        columns = _read_bytes(path, (count, self.channels, *self.size[::-1]))
        return np.ascontiguousarray(columns.swapaxes(2, 3))  # (N, 3, 96, 96)

    def _labels(self, path: Path, count: int) -> NDArray:
        labels = _read_bytes(path, (count,)) - 1  # stored from 1 on; 0 wraps round and is caught
        if labels.max() >= self.classes:
            raise UsageError(f"{path} is damaged: a label is not from 1 to {self.classes}")
        return labels


def _read_bytes(path: Path, shape: tuple[int, ...]) -> NDArray:
    content = np.frombuffer(read_file(path), np.uint8)
    if content.size != np.prod(shape):
        raise UsageError(
            f"{path} is damaged or another file: {content.size} bytes, where {np.prod(shape)} "
            "belong; put an intact copy in its place, or remove its folder to have it downloaded"
        )
    return content.reshape(shape)


DATASETS = (STL10(),)
