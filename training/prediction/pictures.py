"""Image files for a trained network, and the shape in which samples are stored."""

from __future__ import annotations

from cfg.schema import CrossRes, DatasetParams

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ckconv.errors import UsageError
from ckconv.trained import Trained, from_plain
from datasets import named
from datasets.base import Request
from datasets.batches.resample import read_size
from datasets.files.pictures import read_image
from datasets.images import PixelSequence

Sample = tuple[str, NDArray]  # a name, and the sample as it is stored (C, *size)


def request_of(trained: Trained) -> Request:
    """What the network's run asked of its data set, without augmentation."""
    params = from_plain(DatasetParams, trained.config["dataset_params"])
    return Request(params, from_plain(CrossRes, trained.config["cross_res"]))


def picture(path: Path, trained: Trained) -> Iterator[Sample]:
    """An image file: one sample."""
    task, request = trained.task, request_of(trained)
    dataset = named(trained.config["dataset"])
    images = dataset.images if isinstance(dataset, PixelSequence) else dataset
    if len(task["size"]) == 1 and images is dataset:
        raise UsageError(f"{path}: is an image; the network takes the sequences of {task['name']}")
    if trained.scale == 1.0 and images is dataset:
        raise UsageError(
            f"{path}: is an image; the network was trained on numbers that are no 8-bit pixels; "
            "give them as an array, input=data.npz"
        )
    size = getattr(images, "size", None)
    if size is None:
        as_trained = None if request.resampling else tuple(task["size"])
        size = read_size("dataset_params.resize", request.params.resize) or as_trained
    channels = getattr(images, "channels", task["in_channels"])
    pixels = read_image(path, channels, size)
    yield str(path), pixels * np.float32(getattr(images, "scale", 255.0) / 255)


def stored_shape(trained: Trained) -> tuple[int, ...]:
    """The shape (channels, *size) of the samples that the network's data set stores."""
    dataset, task = named(trained.config["dataset"]), trained.task
    if isinstance(dataset, PixelSequence):
        return dataset.images.channels, *dataset.images.size
    return task["in_channels"], *task["size"]
