"""The splits of a time series, loaded and by the paper's rule."""

from __future__ import annotations

import numpy as np
import torch
from sklearn.model_selection import train_test_split

SPLITS = ("train", "validation", "test")


def by_split(loaders) -> dict[str, torch.Tensor]:
    return {split: getattr(loaders, split).inputs for split in SPLITS}


def published_split(targets: np.ndarray) -> dict[str, np.ndarray]:
    indices = np.arange(len(targets))
    train, rest = train_test_split(indices, train_size=0.7, random_state=0, stratify=targets)
    validation, test = train_test_split(
        rest, train_size=0.5, random_state=1, stratify=targets[rest]
    )
    return dict(zip(SPLITS, (train, validation, test)))
