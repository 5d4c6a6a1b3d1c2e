"""Mean and standard deviation of each channel of one's own data."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

CHUNK = 256  # samples at a time


def channel_statistics(chunks: Iterable[NDArray]) -> dict[str, Tensor]:
    """`mean` and `std` (C,), float32, over samples (n, C, *size) that come in pieces.

    Summed up in float64. A channel that never changes has the standard deviation 1: it becomes
    zero, not a division by it.
    """
    count, total, squares = 0, 0.0, 0.0
    for chunk in chunks:
        chunk = np.moveaxis(chunk, 1, 0).reshape(chunk.shape[1], -1).astype(np.float64)  # (C, n)
        count += chunk.shape[1]
        total = total + chunk.sum(1)
        squares = squares + np.square(chunk).sum(1)
    mean = total / count
    std = np.sqrt(np.maximum(squares / count - mean**2, 0))
    std[std <= 1e-6 * np.maximum(np.abs(mean), 1e-30)] = 1.0
    return {
        name: torch.from_numpy(x.astype(np.float32)) for name, x in (("mean", mean), ("std", std))
    }


def chunked(
    samples: NDArray, indices: NDArray, lengths: NDArray | None = None
) -> Iterable[NDArray]:
    """Some of the samples (N, ...), in pieces; of padded ones (N, C, L) their own steps alone."""
    for start in range(0, len(indices), CHUNK):
        rows = indices[start : start + CHUNK]
        if lengths is None:
            yield samples[rows]
        else:
            own = np.arange(samples.shape[2]) < lengths[rows, None]  # (n, L)
            yield samples[rows].swapaxes(1, 2)[own][:, :, None]  # (steps, C, 1)
