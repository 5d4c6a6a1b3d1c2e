"""PhysioNet 2019: sepsis or not, from what an intensive care unit records every hour.

Reyna et al., 2020; with the channels and the split of the CKConv paper.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ckconv.errors import UsageError
from datasets.base import Dataset, Request, Split, Splits
from datasets.files.download import Remote, obtain, read_file, unpack_zip
from datasets.series import EPSILON, step_statistics
from datasets.split import three_way, three_way_sizes
from datasets.task import Task

HOURLY, STATIC, HOURS = 34, 5, 72  # measurements of an hour, facts of a stay, hours that are used
COLUMNS = HOURLY + STATIC + 2  # and the hour, and whether there is sepsis
UNITS = slice(2, 4)  # of the static columns: which unit, unknown for some
MIRROR = "https://archive.physionet.org/users/shared/challenge-2019/"
ARCHIVES = tuple(
    Remote(f"training_set{letter}.zip", (f"{MIRROR}training_set{letter}.zip",)) for letter in "AB"
)
FOLDERS = ("training", "training_setB")  # what the archives unpack to


@dataclass
class Stays:
    """N stays in intensive care; NaN where nothing was measured."""

    hourly: Tensor  # (N, 72, 34)
    static: Tensor  # (N, 5): age, gender, unit 1, unit 2, hours since admission
    unit_known: Tensor  # (N, 2), 0 or 1
    sepsis: Tensor  # (N,), 0 or 1: at any of the hours


class PhysioNet(Dataset):
    """Hours 1 to 72 of a stay in 75 channels; the target is 1 where sepsis came in any of them.

    Channels: how often each of 34 values was measured so far, these values, five facts of the
    stay, and whether the two units are known. Values and facts are normalised by the training
    set, and 0 where they are missing. The stays lie as `.psv` files in folders of
    `root`/PhysioNet2019, and are split 70/15/15 in the order of their names. The archives have no
    published digest: the columns and hours of every stay are checked instead.
    """

    name = "PhysioNet"
    channels, stays = 2 * HOURLY + STATIC + 2, 40_336

    def describe(self, request: Request) -> Task:
        trained = three_way_sizes(self.stays)[0]
        return Task(self.name, self.channels, 1, (HOURS,), trained, loss="binary", metric="auc")

    def splits(self, request: Request, state: dict[str, Tensor] | None) -> Splits:
        folder = request.root / "PhysioNet2019"
        names = " and ".join(remote.filename for remote in ARCHIVES)
        obtain(self.name, folder, FOLDERS, ARCHIVES, _unpack, f", or {names} beside it")
        stays = read_stays(folder)
        if len(stays.sepsis) != self.stays:
            print(f"{folder}: {len(stays.sepsis):,} stays of {self.stays:,}", file=sys.stderr)
        indices = [torch.from_numpy(part) for part in three_way(stays.sepsis.numpy())]
        inputs = make_channels(stays, trained_on=indices[0])
        targets = stays.sepsis.float()[:, None]  # (N, 1)
        return Splits(*(Split(inputs[index], targets[index]) for index in indices))


def make_channels(stays: Stays, trained_on: Tensor) -> Tensor:
    """What the network sees of the stays, (N, 75, 72), normalised by those of `trained_on`."""
    hourly = _normalised(stays.hourly, trained_on)
    static = _normalised(stays.static[:, None], trained_on).expand(-1, HOURS, -1)
    counts = (~hourly.isnan()).cumsum(1)
    known = stays.unit_known[:, None].expand(-1, HOURS, -1)
    parts = (counts, hourly.nan_to_num(0.0), static, known)
    return torch.cat([part.float() for part in parts], dim=2).transpose(1, 2).contiguous()


def _normalised(values: Tensor, trained_on: Tensor) -> Tensor:
    """(N, T, C) less the mean over the standard deviation of each of the C columns."""
    mean, std = step_statistics(values[trained_on])
    return (values - mean) / (std + EPSILON)


def read_stays(folder: Path) -> Stays:
    """The stays of more than two hours in all `.psv` files under `folder`, by their names.

    Raises `UsageError` naming a file that does not have the published columns.
    """
    paths = sorted(folder.rglob("*.psv"), key=lambda path: path.name)
    stays = [stay for stay in map(read_stay, paths) if stay is not None]
    if not stays:
        raise UsageError(
            f"{folder} holds no stays: put the .psv files of PhysioNet 2019 there, or remove the "
            "folder to have them downloaded"
        )
    hourly, static, sepsis = (np.stack(part) for part in zip(*stays))
    unit_known = ~np.isnan(static[:, UNITS])
    return Stays(
        torch.from_numpy(hourly),
        torch.from_numpy(np.nan_to_num(static)),
        torch.from_numpy(unit_known.astype(np.float32)),
        torch.from_numpy(sepsis.astype(np.int64)),
    )


def read_stay(path: Path) -> tuple[NDArray, NDArray, bool] | None:
    """A stay's hourly values (72, 34), facts (5,) and label; None for one of at most two hours.

    A line is an hour, its 41 values between bars; hours without a line are without values.
    """
    _, *lines = read_file(path).decode("ascii", errors="replace").splitlines() or [""]
    try:
        rows = np.array([line.split("|") for line in lines if line], np.float32)
    except ValueError as error:
        raise UsageError(f"{path}: not hours of {COLUMNS} numbers ({error})") from error
    if rows.ndim != 2 or rows.shape[1] != COLUMNS or not (rows[:, -2] >= 1).all():
        raise UsageError(f"{path}: not hours of {COLUMNS} numbers between bars, after a header")
    rows = rows[rows[:, -2] <= HOURS]
    if not len(rows) or rows[-1, -2] <= 2:
        return None
    hourly = np.full((HOURS, HOURLY), np.nan, np.float32)
    hourly[rows[:, -2].astype(int) - 1] = rows[:, :HOURLY]
    return hourly, rows[-1, HOURLY : HOURLY + STATIC], bool(rows[:, -1].max() > 0)


def _unpack(archives: Sequence[Path], into: Path) -> None:
    for archive in archives:
        unpack_zip(archive, into, lambda path: path.suffix == ".psv")


DATASETS = (PhysioNet(),)
