"""Small image data sets in their published layouts, and all of a split at once."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import torch

RANDOM = np.random.RandomState(0)


def everything(loader):
    """All of a split, in the order of its targets' storage or the epoch's."""
    batches = list(loader.batches())
    return torch.cat([x for x, _ in batches]), torch.cat([y for _, y in batches])


def labels(count, classes=10):
    return np.arange(count, dtype=np.uint8) % classes


def write_binary(folder: Path, content: dict[str, np.ndarray]) -> None:
    folder.mkdir(parents=True)
    for name, pixels in content.items():
        records = np.hstack([labels(20)[:, None], pixels])
        (folder / f"{name}.bin").write_bytes(records.tobytes())


def write_pickles(folder: Path, content: dict[str, np.ndarray]) -> None:
    folder.mkdir(parents=True)
    for name, pixels in content.items():
        batch = {"data": pixels, "labels": labels(20).tolist()}
        (folder / name).write_bytes(pickle.dumps(batch, protocol=2))
