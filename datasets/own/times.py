"""When the samples of one's own sequences were taken."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ckconv.errors import UsageError

EVEN = 1e-3  # gaps that differ by less, relative to the step, count as equal


def check_increasing(times: NDArray, where: str, lengths: NDArray | None = None) -> None:
    """Raise `UsageError` for times (N, L) that are missing or do not increase, up to `lengths`."""
    wrong = ~np.isfinite(times)
    wrong[:, 1:] |= ~(np.diff(times, axis=1) > 0)
    wrong &= _own(times, lengths)
    if wrong.any():
        row, step = np.argwhere(wrong)[0]
        raise UsageError(
            f"{where}, row {row}, step {step}: the time is {times[row, step]}; the times of a "
            "sequence must increase"
        )


def common_step(times: NDArray, lengths: NDArray | None = None) -> tuple[float, bool]:
    """The step in which times (N, L) are counted, and whether all samples lie one step apart.

    It is the largest mean gap of a sequence: a kernel as long as the longest one, in steps,
    reaches over all of each.
    """
    own = _own(times, lengths)[:, 1:]
    gaps = np.where(own, np.diff(times, axis=1), 0.0)
    counts = own.sum(1)
    if not counts.any():
        return 1.0, True
    step = float((gaps.sum(1) / np.maximum(counts, 1)).max())
    return step, bool((np.abs(gaps - step)[own] <= EVEN * step).all())


def behind_the_last(times: NDArray, lengths: NDArray | None, step: float) -> NDArray:
    """Times (N, L) that go on in steps of `step` behind the last of each sequence's own."""
    if lengths is None:
        return times
    past = np.arange(times.shape[1]) - (lengths[:, None] - 1)  # (N, L)
    last = np.take_along_axis(times, lengths[:, None] - 1, 1)
    return np.where(past > 0, last + step * past, times)


def _own(times: NDArray, lengths: NDArray | None) -> NDArray:
    """Which times (N, L) are within the sequences' lengths."""
    steps = np.broadcast_to(np.arange(times.shape[1]), times.shape)
    return steps < (times.shape[1] if lengths is None else lengths[:, None])


def with_times(inputs: NDArray, times: NDArray) -> NDArray:
    """Sequences (N, C, L) with their times (N, L), from each one's first, as a last channel."""
    since = (times - times[:, :1]).astype(np.float32)
    return np.concatenate([inputs.astype(np.float32), since[:, None]], 1)
