"""Stratified splits, the same in every run whatever the run's seed is."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

HELD_OUT_SEED = 2022


def held_out_count(samples: int, fraction: float) -> int:
    """How many of `samples` a fraction held out for validation comes to."""
    return round(samples * fraction)


def hold_out(targets: NDArray, count: int) -> tuple[NDArray, NDArray]:
    """Indices of the samples that stay and of `count` held out.

    In every class's proportion, where the targets are classes (N,).
    """
    from sklearn.model_selection import train_test_split

    indices = np.arange(len(targets))
    classes = targets if targets.ndim == 1 else None
    stay, held = train_test_split(
        indices, test_size=count, random_state=HELD_OUT_SEED, stratify=classes
    )
    return stay, held


def three_way_sizes(samples: int) -> tuple[int, int, int]:
    """Sizes of the splits that `three_way` makes."""
    train = int(0.7 * samples)
    validation = (samples - train) // 2
    return train, validation, samples - train - validation


def three_way(targets: NDArray) -> tuple[NDArray, NDArray, NDArray]:
    """Indices of 70 % for training, 15 % for validation and 15 % for the test, stratified.

    The split of the CKConv paper's time series: random states 0 and then 1.
    """
    from sklearn.model_selection import train_test_split

    indices = np.arange(len(targets))
    train, rest = train_test_split(indices, train_size=0.7, random_state=0, stratify=targets)
    validation, test = train_test_split(
        rest, train_size=0.5, random_state=1, stratify=targets[rest]
    )
    return train, validation, test
