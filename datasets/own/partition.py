"""Which samples of one's own data are trained on, held out, and tested on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ckconv.errors import UsageError
from datasets.split import held_out_count, hold_out

TEST_FRACTION = 0.15  # where there are no test data


@dataclass
class Partition:
    """Indices of the samples that are not in a test set of their own."""

    train: NDArray
    validation: NDArray | None
    test: NDArray | None  # None: the data have a test set


def partition(targets: NDArray, has_test: bool, val_fraction: float, where: str) -> Partition:
    """Hold out `val_fraction` for validation, and before it `TEST_FRACTION` for a missing test set.

    The same samples in every run; classes, of `targets` (N,) of whole numbers, keep their
    proportions. Raises `UsageError` for data, which lie `where`, that are too few.
    """
    train, test = np.arange(len(targets)), None
    if not has_test:
        train, test = _part(train, targets, TEST_FRACTION, where)
    validation = None
    if val_fraction:
        train, validation = _part(train, targets, val_fraction, where)
    return Partition(train, validation, test)


def _part(
    indices: NDArray, targets: NDArray, fraction: float, where: str
) -> tuple[NDArray, NDArray]:
    count = held_out_count(len(indices), fraction)
    try:
        stay, held = hold_out(targets[indices], count)
    except ValueError as error:
        raise UsageError(
            f"{where}: {len(indices)} samples are too few to hold out {count} of them with every "
            "class among them; give more, or test data of their own and "
            "dataset_params.val_fraction=0"
        ) from error
    return indices[stay], indices[held]
