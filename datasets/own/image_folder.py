"""ImageFolder: images of one's own, in a folder per class."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from ckconv.errors import UsageError
from datasets.base import Request
from datasets.batches.resample import read_size
from datasets.files.cache import Held, cached, check_held, fingerprint
from datasets.files.pictures import EXTENSIONS, Header, ImageFiles, read_headers
from datasets.files.stored_images import class_folders, read_batches
from datasets.own.base import TEST, TRAIN, VALIDATION, Content, OwnData, Part
from datasets.own.statistics import channel_statistics

FOLDERS = {TRAIN: ("train",), VALIDATION: ("val", "valid", "validation"), TEST: ("test",)}
MOST_IN_MEMORY = 2 << 30  # bytes of pixels; more are read from their files, batch by batch
CHUNK = 256  # images that are decoded together
LEAST_DEVIATION = 1e-6  # of a channel that changes at all


class ImageFolder(OwnData):
    """A folder per class in `dataset_params.root`, or in train/, val/ and test/ there.

    Without test/ the images of val/ are the test set. Images are grey where all files are, else
    RGB; as large as the files, which are then all alike, or stretched to `dataset_params.resize`.
    Pixels that fit in 2 GiB, or with `dataset_params.in_ram` all, are decoded once and kept in
    memory; of more, mean and standard deviation are kept beside the images too.
    """

    name = "ImageFolder"
    flags = frozenset({"resize", "transforms"})

    def content(self, request: Request) -> Content:
        root = request.root
        if not root.is_dir():
            raise UsageError(f"dataset_params.root={root}: there is no such folder")
        resize = read_size("dataset_params.resize", request.params.resize)
        folders = [root, *(path for path in root.glob("*/") if path.is_dir()), *root.glob("*/*/")]
        return _look(root, resize, max(path.stat().st_mtime_ns for path in folders))

    def loaded(self, part: Part, request: Request) -> Part:
        store = part.store
        size = len(store.labels) * store.channels * int(np.prod(store.size))
        if size > MOST_IN_MEMORY and not request.params.in_ram:
            return part
        every = np.arange(len(store.labels))
        return replace(part, inputs=np.concatenate(list(_decoded(store, every, request))))

    def statistics(self, part: Part, indices: NDArray, request: Request) -> dict[str, Tensor]:
        if part.inputs is not None:
            return super().statistics(part, indices, request)
        store, root = part.store, request.root
        made_of = fingerprint(Path(path) for path in store.paths[indices].tolist())
        path = root / f"statistics-{store.channels}x{store.size[0]}x{store.size[1]}.pt"

        def check(kept: dict[str, Tensor]) -> None:
            shape, most = (store.channels,), 255  # of pixels of 8 bits
            mean = Held(torch.float32, shape, 0, most)
            check_held(kept, mean=mean, std=Held(torch.float32, shape, LEAST_DEVIATION, most))

        kept = cached(
            path, made_of, lambda: channel_statistics(_decoded(store, indices, request)), check
        )
        return {name: kept[name] for name in ("mean", "std")}


def _decoded(store: ImageFiles, indices: NDArray, request: Request) -> Iterator[NDArray]:
    """Pixels (n, C, H, W) of some images, in pieces, decoded by several processes."""
    pieces = [indices[i : i + CHUNK].tolist() for i in range(0, len(indices), CHUNK)]
    workers = request.params.workers if len(pieces) > 4 else 0  # they take time to start
    batches = read_batches(store, pieces, workers)
    yield from tqdm(batches, "decoding images", len(pieces), disable=not sys.stderr.isatty())


@lru_cache(maxsize=1)
def _look(root: Path, resize: tuple[int, int] | None, _changed: int) -> Content:
    """What lies in `root`; looked at again where a folder has changed."""
    folders = _part_folders(root)
    class_names = class_folders(folders[TRAIN])
    listed = {name: _listed(folder, class_names) for name, folder in folders.items()}
    paths = [path for files, _ in listed.values() for path in files]
    if not listed[TRAIN][0]:
        raise UsageError(
            f"{folders[TRAIN]}: holds no images in folders of classes, as "
            f"{folders[TRAIN] / 'cat' / 'one.png'}"
        )
    if len(set(listed[TRAIN][1])) < 2:
        raise UsageError(
            f"{folders[TRAIN]}: holds images of {class_names[listed[TRAIN][1][0]]} alone; give "
            "folders of at least two classes"
        )
    headers = read_headers(paths)
    size = resize or _common_size(paths, headers)
    channels = max(header.channels for header in headers)
    parts = {}
    for name, (files, labels) in listed.items():
        store = ImageFiles(files, labels, channels, size)
        parts[name] = Part(store.labels, store=store)
    return Content(parts, channels, size, tuple(class_names))


def _part_folders(root: Path) -> dict[str, Path]:
    """The folders that hold the folders of classes, by what their images are for."""
    found = {}
    for part, names in FOLDERS.items():
        folders = [root / name for name in names if (root / name).is_dir()]
        if folders:
            found[part] = folders[0]
    if TRAIN not in found:
        return {TRAIN: root}
    if TEST not in found and VALIDATION in found:
        found[TEST] = found.pop(VALIDATION)
    return found


def _listed(folder: Path, class_names: list[str]) -> tuple[list[Path], list[int]]:
    """The images of the folders of classes, sorted, and their labels."""
    unknown = sorted(set(class_folders(folder)) - set(class_names))
    if unknown:
        raise UsageError(f"{folder / unknown[0]}: a class that the training images do not have")
    paths, labels = [], []
    for label, name in enumerate(class_names):
        files = [p for p in (folder / name).glob("*") if p.suffix.lower() in EXTENSIONS]
        paths += sorted(files)
        labels += [label] * len(files)
    return paths, labels


def _common_size(paths: list[Path], headers: list[Header]) -> tuple[int, int]:
    """The size of all images. Raises `UsageError` naming the first one that differs."""
    for path, header in zip(paths, headers):
        if header.size != headers[0].size:
            (h, w), (height, width) = header.size, headers[0].size
            raise UsageError(
                f"{path}: has {h} x {w} pixels, where {paths[0]} has {height} x {width}; give one "
                "size for all, as dataset_params.resize=64x64"
            )
    return headers[0].size


DATASETS = (ImageFolder(),)
