"""New samples for a trained network: which files there are, and what reads them."""

from __future__ import annotations

import glob
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from numpy.typing import NDArray

from ckconv.errors import UsageError
from ckconv.trained import Trained
from datasets.files.pictures import EXTENSIONS
from datasets.files.tables import TABLES
from training.prediction.pictures import Sample, picture, stored_shape
from training.prediction.sequences import arrays_of, recording, series_of

READERS: dict[str, Callable[[Path, Trained], Iterator[Sample]]] = {  # by the file's ending
    **dict.fromkeys(EXTENSIONS, picture),
    **dict.fromkeys((".npz", ".npy"), arrays_of),
    **dict.fromkeys((*TABLES, ".ts"), series_of),
    ".wav": recording,
}


def files_of(given: str) -> list[Path]:
    """The files that a path, a folder or a pattern as `'photos/*.png'` names, sorted.

    `-` stands for the names on the standard input, one a line. Raises `UsageError` where there are
    none that can be read.
    """
    if given == "-":
        return [path for line in sys.stdin.read().splitlines() if line for path in files_of(line)]
    path = Path(given).expanduser()
    found = [path] if path.is_file() else sorted(map(Path, glob.glob(given)))
    if path.is_dir():
        found = sorted(child for child in path.rglob("*") if child.is_file())
        found = [child for child in found if child.suffix.lower() in READERS]
    if not given or not found:
        raise UsageError(
            f"input={given}: there are no files; give one, a folder, a pattern in quotes, or - for "
            "the names on the standard input"
        )
    return found


def read(path: Path, trained: Trained) -> Iterator[Sample]:
    """The samples of a file, as the network's data set stores them.

    Raises `UsageError` for a file that cannot be read, or does not fit the network.
    """
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise UsageError(f"{path}: give one of {', '.join(READERS)}")
    for name, sample in reader(path, trained):
        _check_shape(name, sample, trained)
        yield name, sample


def _check_shape(name: str, sample: NDArray, trained: Trained) -> None:
    """Raise `UsageError` for a sample that the network or its normalisation does not take."""
    channels, *size = stored_shape(trained)
    unrolled = len(size) != len(trained.task["size"])
    per_step = trained.mean.ndim > 0 and trained.mean.shape[-1] > 1  # normalised by a mean per step
    fits = sample.shape[0] == channels and sample.ndim == 1 + len(size)
    if per_step and trained.padded:
        fits &= sample.shape[-1] <= size[-1]
    elif unrolled or per_step:
        fits &= sample.shape[1:] == tuple(size)
    if not fits:
        raise UsageError(
            f"{name}: has the shape {sample.shape}; the network takes {(channels, *size)}"
        )
