"""The batch files in which the downsampled ImageNet is published."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ckconv.errors import UsageError
from datasets.files.plain_pickle import PlainUnpickler
from datasets.files.stored_images import Chunk

BATCHES = {  # the published files, without their extension
    "train": tuple(f"train_data_batch_{i}" for i in range(1, 11)),
    "val": ("val_data",),
}
EXTENSIONS = ("", ".npz")  # pickled, or NumPy's
CLASSES = 1000


def batch_files(folder: Path, name: str, part: str) -> list[Path]:
    """The published files of `train` or `val`: in `folder`, or beside it in the data set `name`'s.

    Raises `UsageError` where one is missing.
    """
    places = [folder, *(folder.parent / f"{name}_{part}{end}" for end in ("", "_npz"))]
    for place in places:
        for extension in EXTENSIONS:
            paths = [place / f"{batch}{extension}" for batch in BATCHES[part]]
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
    if not valid or not 0 <= labels.min() <= labels.max() < CLASSES:
        raise UsageError(
            f"{path}: is damaged: it does not hold a label from 1 to {CLASSES} for each "
            f"of its {len(pixels)} images"
        )
    return pixels.reshape(-1, 3, resolution, resolution), labels.astype(np.int16)
