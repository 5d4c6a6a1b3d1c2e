"""What one's own samples are to be told apart by, or what number they have."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ckconv.errors import UsageError


def encode(
    targets: dict[str, NDArray], where: str, steps: int | None
) -> tuple[dict[str, NDArray], tuple[str, ...]]:
    """Targets by part as a network's loss takes them, and the classes' names.

    Whole numbers, words and truth values are classes, (N,) or (N, steps) for one per step;
    numbers with a point, (N,) or (N, K), are predicted as they are, and there are no names. The
    classes are those of the part `train`. Raises `UsageError` for anything else.
    """
    if targets["train"].dtype.kind == "f":
        return {part: _numbers(y, f"{where}, {part}") for part, y in targets.items()}, ()
    classes = np.unique(targets["train"])
    if len(classes) < 2:
        raise UsageError(f"{where}: all targets are {classes[0]}; give at least two classes")
    encoded = {part: _labels(y, classes, f"{where}, {part}", steps) for part, y in targets.items()}
    return encoded, tuple(str(name) for name in classes.tolist())


def _labels(y: NDArray, classes: NDArray, where: str, steps: int | None) -> NDArray:
    if y.dtype.kind not in "iubUSO":
        raise UsageError(f"{where}: targets of the type {y.dtype}; give whole numbers or words")
    if y.ndim != 1 and (y.ndim != 2 or y.shape[1] != steps):
        raise UsageError(
            f"{where}: targets have the shape {y.shape}; give a class per sample, (N,), or for "
            f"sequences one per step, (N, {steps or 'L'})"
        )
    labels = np.searchsorted(classes, y).clip(max=len(classes) - 1)
    unknown = np.argwhere(classes[labels] != y)
    if len(unknown):
        row = unknown[0]
        raise UsageError(
            f"{where}, row {row[0]}: the class {y[tuple(row)]} is not among the training samples'"
        )
    return labels.astype(np.int64)


def _numbers(y: NDArray, where: str) -> NDArray:
    if y.dtype.kind not in "fiu" or y.ndim not in (1, 2):
        raise UsageError(
            f"{where}: targets of the type {y.dtype} and shape {y.shape}; give numbers (N,) or "
            "(N, K), as those of the training samples"
        )
    y = y.reshape(len(y), -1).astype(np.float32)
    missing = np.argwhere(~np.isfinite(y))
    if len(missing):
        raise UsageError(f"{where}, row {missing[0][0]}: the target is {y[tuple(missing[0])]}")
    return y
