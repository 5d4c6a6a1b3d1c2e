"""Arrays: samples of one's own in a NumPy file."""

from __future__ import annotations

import zipfile
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ckconv.errors import UsageError
from datasets.base import Request
from datasets.own.base import TEST, TRAIN, Content, OwnData, Part
from datasets.own.targets import encode
from datasets.own.times import behind_the_last, check_increasing, common_step, with_times

NAMES = {TRAIN: ("x", "y", "times"), TEST: ("x_test", "y_test", "times_test")}
LENGTHS = {TRAIN: "lengths", TEST: "lengths_test"}


class Arrays(OwnData):
    """The arrays of an .npz file, `dataset_params.root`.

    `x`: (N, C, L) or (N, L) sequences, (N, C, H, W) images, (N, C, D, H, W) volumes. `y`: whole
    numbers or words (N,) are classes, (N, L) a class per step; numbers with a point, (N,) or
    (N, K), are predicted.
    `times`: (L,) or (N, L), where the samples of a sequence are not one step apart. `lengths`:
    (N,), of sequences that are padded behind their last step; what stands there counts in nothing.
    `x_test`, `y_test`, `times_test`, `lengths_test`: the test set; without it some samples are
    held out.
    """

    name = "Arrays"
    flags = frozenset({"transforms"})

    def content(self, request: Request) -> Content:
        path = request.root
        try:
            return _read(path, path.stat().st_mtime_ns)
        except OSError as error:
            raise UsageError(
                f"dataset_params.root={path}: {error.strerror}; give an .npz file"
            ) from error


@lru_cache(maxsize=1)
def _read(path: Path, _changed: int) -> Content:
    arrays = read_arrays(path)
    missing = [name for name in ("x", "y") if name not in arrays]
    if "x_test" in arrays and "y_test" not in arrays:
        missing.append("y_test")
    if missing:
        raise UsageError(
            f"{path}: holds {', '.join(arrays) or 'nothing'}, but no {missing[0]}; see the arrays "
            "that dataset=Arrays takes"
        )
    own = {p: own_lengths(arrays, str(path), p) for p, _ in _there(arrays)}
    inputs = {p: as_samples(arrays[x], f"{path}, {x}", own[p]) for p, (x, _, _) in _there(arrays)}
    targets = {p: arrays[y] for p, (_, y, _) in _there(arrays)}
    _check_shapes(path, inputs, targets)
    size = inputs[TRAIN].shape[2:]
    targets, class_names = encode(targets, str(path), size[0] if len(size) == 1 else None)
    if targets[TRAIN].ndim == 2 and class_names and any(n is not None for n in own.values()):
        raise UsageError(f"{path}: y is a class per step; with lengths give one per sequence, (N,)")
    step = _add_times(path, arrays, inputs, own)
    channels = inputs[TRAIN].shape[1]
    parts = {p: Part(targets[p], inputs[p], lengths=own[p]) for p in inputs}
    return Content(parts, channels, size, class_names, step)


def _there(arrays: dict[str, NDArray]) -> list[tuple[str, tuple[str, str, str]]]:
    return [(part, names) for part, names in NAMES.items() if names[0] in arrays]


def read_arrays(path: Path) -> dict[str, NDArray]:
    """All arrays of an .npz file by name; an .npy file is called x.

    Raises `UsageError` for a file that is none, and for arrays of Python objects.
    """
    try:
        with open(path, "rb") as file:
            if not file.read(6).startswith((b"\x93NUMPY", b"PK")):  # else it might be a pickle
                raise ValueError("it begins otherwise")
        loaded = np.load(path, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return {"x": loaded}
        with loaded:
            return {name: loaded[name] for name in loaded.files}
    except (ValueError, EOFError, zipfile.BadZipFile) as error:
        if "allow_pickle" in str(error):
            raise UsageError(
                f"{path}: holds Python objects, which could run code when loaded; save plain "
                "arrays, with np.savez(path, x=x, y=y)"
            ) from error
        raise UsageError(f"{path}: is not an .npz file, or damaged ({error})") from error


def as_samples(x: NDArray, where: str, lengths: NDArray | None = None) -> NDArray:
    """Samples (N, C, *size), uint8 or float32, of an array that may lack the axis of channels.

    Sequences of `lengths` (N,) become zero behind them. Raises `UsageError`, naming the row, for
    what is no number.
    """
    if x.dtype.kind not in "fiub" or x.ndim < 2 or 0 in x.shape:
        raise UsageError(
            f"{where}: is of the type {x.dtype} and shape {x.shape}; give numbers, (N, C, L) or "
            "(N, L) for sequences, (N, C, H, W) for images"
        )
    if x.ndim == 2:
        x = x[:, None]
    if lengths is not None:
        x = np.where(np.arange(x.shape[2]) < lengths[:, None, None], x, x.dtype.type(0))
    if x.dtype == np.uint8:
        return x
    x = x.astype(np.float32)
    bad = ~np.isfinite(x.reshape(len(x), -1)).all(1)
    if bad.any():
        row = int(np.argmax(bad))
        raise UsageError(f"{where}, row {row}: holds nan or infinity; fill or leave out the row")
    return x


def own_lengths(arrays: dict[str, NDArray], where: str, part: str = TRAIN) -> NDArray | None:
    """The lengths (N,) of padded sequences; None where there are none. Raises `UsageError`."""
    name, x_name = LENGTHS[part], NAMES[part][0]
    if name not in arrays:
        return None
    lengths, x = arrays[name], arrays[x_name]
    if lengths.dtype.kind not in "iu" or x.ndim not in (2, 3) or lengths.shape != x.shape[:1]:
        raise UsageError(
            f"{where}, {name}: is of the type {lengths.dtype} and shape {lengths.shape}; {x_name} "
            f"is {x.shape}; give whole numbers (N,) for sequences (N, C, L)"
        )
    wrong = np.flatnonzero((lengths < 1) | (lengths > x.shape[-1]))
    if len(wrong):
        raise UsageError(
            f"{where}, {name}, row {wrong[0]}: the length is {lengths[wrong[0]]}; give numbers "
            f"from 1 to {x.shape[-1]}"
        )
    return lengths.astype(np.int64)


def _check_shapes(path: Path, inputs: dict[str, NDArray], targets: dict[str, NDArray]) -> None:
    for part, x in inputs.items():
        x_name, y_name, _ = NAMES[part]
        if x.shape[1:] != inputs[TRAIN].shape[1:]:
            raise UsageError(
                f"{path}: samples of {x_name} have the shape {x.shape[1:]}, those of x "
                f"{inputs[TRAIN].shape[1:]}"
            )
        if targets[part].ndim < 1 or len(targets[part]) != len(x):
            raise UsageError(
                f"{path}: {x_name} has {len(x)} samples, {y_name} the shape {targets[part].shape}"
            )


def _add_times(
    path: Path,
    arrays: dict[str, NDArray],
    inputs: dict[str, NDArray],
    lengths: dict[str, NDArray | None],
) -> float | None:
    """Give sequences their times as a channel; returns the step, None where all are one apart."""
    if "times" not in arrays:
        return None
    times = {}
    for part, (x_name, _, name) in _there(arrays):
        name = name if name in arrays else "times"
        where = f"{path}, {name}"
        times[part] = sample_times(arrays[name], inputs[part], where, lengths[part], x_name)
    step, even = common_step(times[TRAIN], lengths[TRAIN])
    times = {part: behind_the_last(t, lengths[part], step) for part, t in times.items()}
    if even and all(
        np.allclose(t - t[:, :1], times[TRAIN][0] - times[TRAIN][0, 0]) for t in times.values()
    ):
        return None
    for part, t in times.items():
        inputs[part] = with_times(inputs[part], t)
    return step


def sample_times(
    times: NDArray, x: NDArray, where: str, lengths: NDArray | None = None, x_name: str = "x"
) -> NDArray:
    """The times (N, L) of samples x (N, C, L), from (L,) or (N, L). Raises `UsageError`."""
    if (
        times.dtype.kind not in "fiu"
        or x.ndim != 3
        or times.shape not in ((x.shape[2],), (len(x), x.shape[2]))
    ):
        raise UsageError(
            f"{where}: is of the type {times.dtype} and shape {times.shape}; {x_name} is "
            f"{x.shape}; give numbers (L,) or (N, L) for sequences (N, C, L)"
        )
    times = np.broadcast_to(times.astype(np.float64), (len(x), x.shape[2]))
    check_increasing(times, where, lengths)
    return times


DATASETS = (Arrays(),)
