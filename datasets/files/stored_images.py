"""Images that lie on disk by the hundred thousand: read by index, gathered, cached.

An image store has `labels` (N,) and `read(indices)`, which gives uint8 pixels (n, 3, H, W).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader
from tqdm import tqdm

from ckconv.errors import UsageError
from datasets.files.cache import fingerprint
from datasets.files.pictures import read_image
from program.files import write

EXTENSIONS = (".png", ".jpg", ".jpeg")
CHUNK = 512  # images that are decoded together

Chunk = tuple[NDArray, NDArray]  # pixels (n, 3, H, W) and labels (n,)


class ImageStore(Protocol):
    """Labelled images of one size."""

    labels: NDArray  # (N,) int16

    def read(self, indices: Sequence[int]) -> NDArray:
        """The pixels of some images, (n, 3, H, W) uint8."""


class ArrayStore:
    """Images in an array, which may be a file mapped into memory."""

    def __init__(self, pixels: NDArray, labels: NDArray):
        self.pixels, self.labels = pixels, labels

    def read(self, indices: Sequence[int]) -> NDArray:
        return self.pixels[np.asarray(indices)]


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


def write_cache(stem: Path, chunks: Iterable[Chunk], sources: Sequence[Path]) -> None:
    """Write decoded images as `stem`.pixels and `stem`.labels.npy, whole or not at all.

    `stem`.made_of keeps the fingerprint of `sources`, which they were decoded from.
    """
    stem.parent.mkdir(parents=True, exist_ok=True)
    pixels_part = stem.with_name(f"{stem.name}.{os.getpid()}.pixels.part")
    made_of = fingerprint(sources)
    labels_part = stem.with_name(f"{stem.name}.{os.getpid()}.labels.part.npy")
    labels = []
    try:
        with open(pixels_part, "wb") as file:
            for pixels, more_labels in chunks:
                file.write(np.ascontiguousarray(pixels).data)
                labels.append(more_labels)
                del pixels  # before the next is read: a batch file holds up to 1.6 GB
        np.save(labels_part, np.concatenate(labels), allow_pickle=False)
        _made_of_path(stem).unlink(missing_ok=True)  # until the others are whole there is none
        os.replace(pixels_part, _pixels_path(stem))
        os.replace(labels_part, _labels_path(stem))
        write(_made_of_path(stem), made_of)
    finally:
        pixels_part.unlink(missing_ok=True)
        labels_part.unlink(missing_ok=True)


def has_cache(stem: Path, sources: Sequence[Path]) -> bool:
    """Whether `write_cache` has finished under this name, with of the same files or folders."""
    path = _made_of_path(stem)
    return path.exists() and path.read_text() == fingerprint(sources)


def open_cache(stem: Path, resolution: int, in_ram: bool) -> ArrayStore:
    """The images of a cache, in memory or left in the file, from which the system reads them.

    Raises `UsageError` where it is damaged.
    """
    try:
        labels = np.load(_labels_path(stem), allow_pickle=False)
        shape = (len(labels), 3, resolution, resolution)
        path = _pixels_path(stem)
        pixels = np.fromfile(path, np.uint8) if in_ram else np.memmap(path, np.uint8, "r")
        return ArrayStore(pixels.reshape(shape), labels)
    except (OSError, EOFError, ValueError, TypeError) as error:
        raise UsageError(
            f"{stem.parent}: this cache is damaged; remove it to have it made again"
        ) from error


def _pixels_path(stem: Path) -> Path:
    return stem.with_name(stem.name + ".pixels")


def _labels_path(stem: Path) -> Path:
    return stem.with_name(stem.name + ".labels.npy")


def _made_of_path(stem: Path) -> Path:
    return stem.with_name(stem.name + ".made_of")
