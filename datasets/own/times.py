"""When the samples of one's own sequences were taken."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ckconv.errors import UsageError

EVEN = 1e-3  # gaps that differ by less, relative to the step, count as equal


def check_increasing(times: NDArray, where: str) -> None:
    """Raise `UsageError` for times (N, L) that are missing or do not increase."""
    wrong = ~np.isfinite(times)
    wrong[:, 1:] |= ~(np.diff(times, axis=1) > 0)
    if wrong.any():
        row, step = np.argwhere(wrong)[0]
        raise UsageError(
            f"{where}, row {row}, step {step}: the time is {times[row, step]}; the times of a "
            "sequence must increase"
        )


def common_step(times: NDArray) -> tuple[float, bool]:
    """The step in which times (N, L) are counted, and whether all samples lie one step apart.

    It is the one by which the longest sequence would have samples one step apart: a kernel as
    long as the input, of L steps, reaches over all of it.
    """
    if times.shape[1] < 2:
        return 1.0, True
    gaps = np.diff(times, axis=1)
    step = float(gaps.sum(1).max()) / gaps.shape[1]
    return step, bool((np.abs(gaps - step) <= EVEN * step).all())


def with_times(inputs: NDArray, times: NDArray) -> NDArray:
    """Sequences (N, C, L) with their times (N, L), from each one's first, as a last channel."""
    since = (times - times[:, :1]).astype(np.float32)
    return np.concatenate([inputs.astype(np.float32), since[:, None]], 1)
