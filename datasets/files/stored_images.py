"""Images that lie on disk by the hundred thousand: read by index, gathered, cached.

An image store has `labels` (N,) and `read(indices)`, which gives uint8 pixels (n, 3, H, W).
"""

from __future__ import annotations

import contextlib
import os
import sys
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader
from tqdm import tqdm

from ckconv.errors import UsageError
from datasets.files.cache import MADE_OF, fingerprint, sweep_parts
from datasets.files.download import locked
from datasets.files.pictures import read_image
from program.files import complete, write

EXTENSIONS = (".png", ".jpg", ".jpeg")
CHUNK = 512  # images that are decoded together
KINDS = PIXELS, LABELS, CHECKSUMS = "pixels", "labels.npy", "checksums.npy"  # files of a cache

Chunk = tuple[NDArray, NDArray]  # pixels (n, 3, H, W) and labels (n,)


class ImageStore(Protocol):
    """Labelled images of one size."""

    labels: NDArray  # (N,) int16

    def read(self, indices: Sequence[int]) -> NDArray:
        """The pixels of some images, (n, 3, H, W) uint8."""


class ArrayStore:
    """Images in an array, which may be the file `path`, mapped into memory.

    With `checksums` every image that is read is compared with them.
    """

    def __init__(
        self,
        pixels: NDArray,
        labels: NDArray,
        checksums: NDArray | None = None,
        path: Path | None = None,
    ):
        self.pixels, self.labels = pixels, labels
        self.checksums, self.path = checksums, path

    def read(self, indices: Sequence[int]) -> NDArray:
        """The pixels of some images. Raises `UsageError` where a bit of one has changed."""
        indices = np.asarray(indices)
        pixels = self.pixels[indices]
        if self.checksums is not None:
            found = checksums_of(pixels, self.labels[indices])
            changed = indices[found != self.checksums[indices]]
            if len(changed):
                raise UsageError(
                    f"{self.path}: this cache is damaged, image {changed[0]} is not as it was "
                    f"written; remove {self.path.parent} to have it made again"
                )
        return pixels

    def chunks(self) -> Iterator[Chunk]:
        """All images in order."""
        for start in range(0, len(self.labels), CHUNK):
            indices = np.arange(start, min(start + CHUNK, len(self.labels)))
            yield self.read(indices), self.labels[indices]


class FolderStore:
    """Image files in one folder per class; `classes` are the folders' names, by label.

    Raises `UsageError` naming the folder where there are no images, or classes of another set.
    """

    def __init__(self, folder: Path, classes: Sequence[str], resolution: int):
        unknown = sorted(set(class_folders(folder)) - set(classes))
        if unknown:
            raise UsageError(f"{folder / unknown[0]}: a class that the training images do not have")
        self.folder, self.classes, self.resolution = folder, list(classes), resolution
        names: list[bytes] = []
        labels: list[int] = []
        for label, name in enumerate(self.classes):
            files = image_files(folder / name)
            names += files
            labels += [label] * len(files)
        if not names:
            raise UsageError(f"{folder}: holds no PNG or JPEG files in folders of classes")
        # Arrays, not lists: processes that read images share them without copying.
        self.names, self.labels = np.array(names), np.array(labels, np.int16)

    def read(self, indices: Sequence[int]) -> NDArray:
        pixels = np.empty((len(indices), 3, self.resolution, self.resolution), np.uint8)
        for row, index in enumerate(indices):
            name = os.fsdecode(bytes(self.names[index]))
            pixels[row] = self._decoded(self.folder / self.classes[self.labels[index]] / name)
        return pixels

    def _decoded(self, path: Path) -> NDArray:
        pixels = read_image(path)
        if pixels.shape[1:] != (self.resolution, self.resolution):
            height, width = pixels.shape[1:]
            raise UsageError(
                f"{path}: has {height} x {width} pixels, where {self.resolution} x "
                f"{self.resolution} belong; downsample the images first"
            )
        return pixels

    def chunks(self, workers: int) -> Iterator[Chunk]:
        """All images in order, decoded by `workers` processes."""
        parts = [
            range(i, min(i + CHUNK, len(self.labels))) for i in range(0, len(self.labels), CHUNK)
        ]
        batches = read_batches(self, parts, workers)
        bar = tqdm(batches, f"decoding {self.folder}", len(parts), disable=not sys.stderr.isatty())
        for part, pixels in zip(parts, bar):
            yield pixels, self.labels[part.start : part.stop]


def class_folders(folder: Path) -> list[str]:
    """The names of the classes of a folder of image folders, sorted."""
    return sorted(entry.name for entry in os.scandir(folder) if entry.is_dir())


def image_files(folder: Path) -> list[bytes]:
    """The names of the images in a folder, sorted; none where it does not exist."""
    if not folder.is_dir():
        return []
    names = (entry.name for entry in os.scandir(folder))
    return sorted(os.fsencode(name) for name in names if name.lower().endswith(EXTENSIONS))


class _Reading:
    """A store as PyTorch's DataLoader wants it; mistakes come back as text, in one sentence."""

    def __init__(self, store: ImageStore):
        self.store = store

    def __getitems__(self, indices: Sequence[int]) -> NDArray | str:
        try:
            return self.store.read(indices)
        except UsageError as error:
            return str(error)


def read_batches(
    store: ImageStore, batches: Sequence[Sequence[int]], workers: int
) -> Iterator[NDArray]:
    """The pixels of each list of indices, in order, read ahead by `workers` processes.

    Raises `UsageError` for an image that cannot be read.
    """
    reader = DataLoader(
        _Reading(store),
        batch_sampler=batches,
        num_workers=workers,
        collate_fn=_unchanged,
        generator=torch.Generator().manual_seed(0),  # leaves the run's own random numbers alone
    )
    for pixels in reader:
        if isinstance(pixels, str):
            raise UsageError(pixels)
        yield pixels


def _unchanged(batch: Any) -> Any:
    return batch


def in_memory(chunks: Iterable[Chunk], resolution: int) -> ArrayStore:
    """All images in one array, which grows in place: never twice in memory."""
    pixels = np.empty((0, 3, resolution, resolution), np.uint8)
    labels = []
    for more, more_labels in chunks:
        before = len(pixels)
        pixels.resize((before + len(more), *pixels.shape[1:]), refcheck=False)
        pixels[before:] = more
        labels.append(more_labels)
        del more  # before the next is read: a batch file holds up to 1.6 GB
    return ArrayStore(pixels, np.concatenate(labels))


def cached_images(
    stem: Path,
    sources: Sequence[Path],
    chunks: Callable[[], Iterable[Chunk]],
    resolution: int,
    classes: int,
) -> ArrayStore:
    """The images that `chunks` decodes from `sources`, from a file that is made first if need be.

    They are left in the file, from which the system reads them. Processes wait for each other.
    Raises `UsageError` where the cache is damaged or of something else.
    """
    stem.parent.mkdir(parents=True, exist_ok=True)
    with locked(stem.parent) as is_locked:
        if is_locked:
            sweep_parts(stem)
        made_of = fingerprint(sources)
        path = _path(stem, MADE_OF)
        if not path.exists() or path.read_text(errors="replace") != made_of:
            print(f"decoding the {stem.name} images once, into {stem.parent}", flush=True)
            _write(stem, chunks(), made_of)
    return _open(stem, resolution, classes)


def _write(stem: Path, chunks: Iterable[Chunk], made_of: str) -> None:
    """Write the pixels, the labels and a checksum of every image, whole or not at all."""
    labels, checksums = [], []
    with contextlib.ExitStack() as stack:
        parts = [stack.enter_context(complete(_path(stem, kind))) for kind in KINDS]
        with open(parts[0], "wb") as file:
            for pixels, more_labels in chunks:
                file.write(np.ascontiguousarray(pixels).data)
                labels.append(more_labels)
                checksums.append(checksums_of(pixels, more_labels))
                del pixels  # before the next is read: a batch file holds up to 1.6 GB
        np.save(parts[1], np.concatenate(labels), allow_pickle=False)
        np.save(parts[2], np.concatenate(checksums), allow_pickle=False)
        _path(stem, MADE_OF).unlink(missing_ok=True)  # until the others are whole there is none
    write(_path(stem, MADE_OF), made_of)


def _open(stem: Path, resolution: int, classes: int) -> ArrayStore:
    try:
        labels = np.load(_path(stem, LABELS), allow_pickle=False)
        if labels.dtype != np.int16 or labels.ndim != 1 or not len(labels):
            raise ValueError(f"{labels.shape} labels of {labels.dtype}")
        if not 0 <= labels.min() <= labels.max() < classes:
            raise ValueError(f"labels from {labels.min()} to {labels.max()}, of {classes} classes")
        path, checksums = _path(stem, CHECKSUMS), None
        if path.exists():  # earlier versions kept none
            checksums = np.load(path, allow_pickle=False)
            if checksums.dtype != np.uint32 or checksums.shape != labels.shape:
                raise ValueError(f"{checksums.shape} checksums of {checksums.dtype}")
        pixels = np.memmap(_path(stem, PIXELS), np.uint8, "r")
        pixels = pixels.reshape(len(labels), 3, resolution, resolution)
        return ArrayStore(pixels, labels, checksums, _path(stem, PIXELS))
    except MemoryError:
        raise
    except Exception as error:  # NumPy reports damaged files by many kinds of exception
        raise UsageError(
            f"{stem.parent}: this cache is damaged; remove it to have it made again ({error})"
        ) from error


def checksums_of(pixels: NDArray, labels: NDArray) -> NDArray:
    """The CRC-32 of each image (n, C, H, W) with its label (n,), uint32."""
    return np.array(
        [
            zlib.crc32(np.int16(label).tobytes(), zlib.crc32(np.ascontiguousarray(image).data))
            for image, label in zip(pixels, labels)
        ],
        np.uint32,
    )


def _path(stem: Path, kind: str) -> Path:
    return stem.with_name(f"{stem.name}.{kind}")
