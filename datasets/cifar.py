"""CIFAR-10 and CIFAR-100: 60,000 colour images of 32 x 32 pixels (Krizhevsky, 2009)."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ckconv.errors import UsageError
from datasets.batches.augmentations import Augmentation, FlipCrop
from datasets.files.download import obtain_published, read_file
from datasets.files.plain_pickle import PlainUnpickler
from datasets.images import IMAGENET_MEAN, IMAGENET_STD, ImageDataset, PixelSequence, RawImages

PIXELS = 3 * 32 * 32


class CIFAR(ImageDataset):
    """The "binary version" or the "python version" of the files: whichever lies in `root`.

    Where there is neither, the python version is downloaded, as torchvision does.
    """

    channels, size = 3, (32, 32)
    train_total = 50_000
    mean, std = IMAGENET_MEAN, IMAGENET_STD
    augmentations = {"resnet": Augmentation((FlipCrop(4),))}
    binary_folder: str
    python_folder: str
    files: tuple[tuple[str, int], ...]  # (name, samples); the last one is the test set
    label_bytes: int  # of a binary record; the last of them is the label
    label_key: str  # of a pickled batch

    def read(self, root: Path) -> RawImages:
        binary, folder = root / self.binary_folder, root / self.python_folder
        if binary.is_dir():
            batches = [self._read_binary(binary / f"{name}.bin", n) for name, n in self.files]
        else:
            names = [name for name, _ in self.files]
            binaries = ", ".join(f"{name}.bin" for name in names)
            by_hand = f", or {binaries} of the binary version into {binary}"
            obtain_published(self.name, folder, names, by_hand)
            batches = [self._read_pickle(folder / name, n) for name, n in self.files]
        pixels, labels = zip(*batches)
        return RawImages(
            np.concatenate(pixels[:-1]), np.concatenate(labels[:-1]), pixels[-1], labels[-1]
        )

    def _read_binary(self, path: Path, count: int) -> tuple[NDArray, NDArray]:
        content = np.frombuffer(read_file(path), np.uint8)
        record = self.label_bytes + PIXELS
        if len(content) != count * record:
            raise UsageError(
                f"{path} is damaged or another file: {len(content)} bytes, where {count} records "
                f"of {record} bytes belong; put an intact copy in its place"
            )
        content = content.reshape(count, record)
        labels = content[:, self.label_bytes - 1].copy()
        return self._checked(path, content[:, self.label_bytes :].copy(), labels, count)

    def _read_pickle(self, path: Path, count: int) -> tuple[NDArray, NDArray]:
        try:
            batch: Any = PlainUnpickler(io.BytesIO(read_file(path)), encoding="latin1").load()
            pixels = np.ascontiguousarray(batch["data"])
            labels = np.asarray(batch[self.label_key], np.int64)
        except UsageError:
            raise
        except Exception as error:  # whatever damaged bytes make the unpickler raise
            raise UsageError(
                f"{path} is damaged ({error}): remove its folder to have it downloaded again"
            ) from error
        return self._checked(path, pixels, labels, count)

    def _checked(
        self, path: Path, pixels: NDArray, labels: NDArray, count: int
    ) -> tuple[NDArray, NDArray]:
        fits = pixels.shape == (count, PIXELS) and pixels.dtype == np.uint8
        if (
            not fits
            or labels.shape != (count,)
            or not 0 <= labels.min() <= labels.max() < self.classes
        ):
            raise UsageError(
                f"{path} is damaged or another file: it does not hold {count} images of {PIXELS} "
                f"bytes with labels below {self.classes}"
            )
        return pixels.reshape(count, 3, 32, 32), labels.astype(np.uint8)


class CIFAR10(CIFAR):
    """Ten classes."""

    name = "CIFAR10"
    classes = 10
    class_names = tuple("airplane automobile bird cat deer dog frog horse ship truck".split())
    binary_folder, python_folder = "cifar-10-batches-bin", "cifar-10-batches-py"
    files = (*((f"data_batch_{i}", 10_000) for i in range(1, 6)), ("test_batch", 10_000))
    label_bytes, label_key = 1, "labels"


class CIFAR100(CIFAR):
    """A hundred classes, the fine labels."""

    name = "CIFAR100"
    classes = 100
    binary_folder, python_folder = "cifar-100-binary", "cifar-100-python"
    files = (("train", 50_000), ("test", 10_000))
    label_bytes, label_key = 2, "fine_labels"


DATASETS = (CIFAR10(), CIFAR100(), PixelSequence("sCIFAR10", CIFAR10(), "noise_padded"))
