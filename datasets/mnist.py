"""MNIST: 70,000 handwritten digits of 28 x 28 pixels (LeCun et al., 1998)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ckconv.errors import UsageError
from datasets.batches.augmentations import Augmentation, DigitDistortion, RandomErasing
from datasets.files.download import Remote, obtain, read_file, unpack_gzip
from datasets.images import ImageDataset, PixelSequence, RawImages

FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)
MAGIC_UINT8 = 0x0800  # the third byte of an IDX file is the type, the fourth the dimensions


class MNIST(ImageDataset):
    """The IDX files in `root`/MNIST/raw, where torchvision puts them.

    They are read here: torchvision's data set takes an exchanged file for the data, answers a
    shortened one by an assertion that names none, and knows none that is still compressed.
    Addresses and digests are torchvision's.
    """

    name = "MNIST"
    channels, size, classes = 1, (28, 28), 10
    class_names = tuple("0123456789")
    train_total, test_total = 60_000, 10_000
    mean, std = (0.1307,), (0.3081,)
    augmentations = {"standard": Augmentation((DigitDistortion(),), (RandomErasing(4 / 28),))}

    def read(self, root: Path) -> RawImages:
        folder = root / "MNIST" / "raw"
        if not folder.is_dir():
            obtain(self.name, folder, FILES, _remotes(), _unpack, " (or the same with .gz)")
        train, train_labels, test, test_labels = (folder / name for name in FILES)
        return RawImages(
            read_idx(train, (self.train_total, *self.size))[:, None],
            self._labels(train_labels, self.train_total),
            read_idx(test, (self.test_total, *self.size))[:, None],
            self._labels(test_labels, self.test_total),
        )

    def _labels(self, path: Path, count: int) -> NDArray:
        labels = read_idx(path, (count,))
        if labels.max() >= self.classes:
            raise UsageError(f"{path} is damaged: it holds the label {labels.max()}")
        return labels


def read_idx(path: Path, shape: tuple[int, ...]) -> NDArray:
    """An IDX file of unsigned bytes, of the given shape.

    Raises `UsageError` naming the file where its header or its length say something else.
    """
    content = read_file(path)
    header = np.array([MAGIC_UINT8 + len(shape), *shape], ">u4").tobytes()
    expected = len(header) + int(np.prod(shape))
    if content[: len(header)] != header or len(content) != expected:
        raise UsageError(
            f"{path} is damaged or another file: {len(content)} bytes, where an IDX file of "
            f"{' x '.join(map(str, shape))} unsigned bytes has {expected}; remove its folder to "
            "have it downloaded again, or put an intact copy in its place"
        )
    return np.frombuffer(content, np.uint8, offset=len(header)).reshape(shape).copy()


def _remotes() -> list[Remote]:
    from torchvision.datasets import MNIST as Published

    return [
        Remote(name, tuple(mirror + name for mirror in Published.mirrors), f"md5:{md5}")
        for name, md5 in Published.resources
    ]


def _unpack(archives: Sequence[Path], into: Path) -> None:
    for archive in archives:
        unpack_gzip(archive, into / archive.stem)


DATASETS = (MNIST(), PixelSequence("sMNIST", MNIST(), "permuted"))
