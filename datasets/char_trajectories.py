"""CharTrajectories: handwritten characters as pen movements (UEA CharacterTrajectories)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ckconv.errors import UsageError
from datasets.base import Dataset, Request, Splits, sampled_length
from datasets.files.download import Remote, obtain, read_file, unpack_zip
from datasets.series import cached, series_splits
from datasets.split import three_way_sizes
from datasets.task import Task

ARCHIVE = Remote(
    "CharacterTrajectories.zip",
    (
        "https://www.timeseriesclassification.com/aeon-toolkit/CharacterTrajectories.zip",
        "http://www.timeseriesclassification.com/aeon-toolkit/CharacterTrajectories.zip",
    ),
)
FILES = ("CharacterTrajectories_TRAIN.ts", "CharacterTrajectories_TEST.ts")


class CharTrajectories(Dataset):
    """20 characters, 3 channels, 182 steps; shorter ones are padded by their last value.

    The archive has no published digest: the numbers of cases, channels, steps and classes are
    checked instead. Both of its files together are split anew, 70/15/15.
    """

    name = "CharTrajectories"
    flags = frozenset({"drop_rate", "sr_train", "sr_test"})
    cases, channels, length, classes = 2858, 3, 182, 20

    def describe(self, request: Request) -> Task:
        params = request.params
        return Task(
            self.name,
            self.channels + bool(params.drop_rate),
            self.classes,
            (sampled_length(self.length, params.sr_train),),
            three_way_sizes(self.cases)[0],
        )

    def splits(self, request: Request, state: dict[str, Tensor] | None) -> Splits:
        folder = request.root / "CharacterTrajectories"
        obtain(
            self.name,
            folder,
            FILES,
            [ARCHIVE],
            self._unpack,
            f", or {ARCHIVE.filename} beside it",
        )
        data = cached(folder / "series.pt", lambda: self._read(folder))
        return series_splits(request.params, data["series"], data["targets"])

    def _unpack(self, archives: Sequence[Path], into: Path) -> None:
        unpack_zip(archives[0], into, lambda path: str(path) in FILES)
        self._read(into)  # in place of a digest, before the files count as data

    def _read(self, folder: Path) -> dict[str, Tensor]:
        series, labels = [], []
        for name in FILES:
            more_series, more_labels = read_ts(folder / name)
            series += more_series
            labels += more_labels
        classes, targets = np.unique(labels, return_inverse=True)
        shapes = {case.shape[0] for case in series}
        longest = max((case.shape[1] for case in series), default=0)
        found = (len(series), shapes, longest, len(classes))
        if found != (self.cases, {self.channels}, self.length, self.classes):
            raise UsageError(
                f"{folder} does not hold {self.name}: {len(series)} cases of up to "
                f"{longest} steps and {len(classes)} classes, where {self.cases}, {self.length} "
                f"and {self.classes} belong; remove the folder to have it downloaded again"
            )
        padded = [np.pad(x, ((0, 0), (0, longest - x.shape[1])), mode="edge") for x in series]
        return {
            "series": torch.from_numpy(np.stack(padded)),  # (N, 3, 182)
            "targets": torch.from_numpy(targets.astype(np.int64)),
        }


def read_ts(path: Path) -> tuple[list[NDArray], list[str]]:
    """The cases (channels, length), float32, and the labels of a `.ts` file.

    After the header, which ends with @data, a line is a case: channels separated by colons, their
    values by commas, and the label last. Cases may differ in length, the channels of one may not.
    Raises `UsageError` naming the file and the line that is not so.
    """
    series, labels = [], []
    in_header = True
    text = read_file(path).decode("utf-8", errors="replace")
    for number, line in enumerate(text.splitlines(), start=1):
        line = line.strip()
        if not line or line.startswith(("#", "@")) or in_header:
            in_header = in_header and line.lower() != "@data"
            continue
        *channels, label = line.split(":")
        try:
            case = np.array([channel.split(",") for channel in channels], np.float32)
        except ValueError as error:
            raise UsageError(f"{path}, line {number}: not a case of numbers ({error})") from error
        if case.ndim != 2 or not np.isfinite(case).all() or not label:
            raise UsageError(f"{path}, line {number}: channels, values or the label are missing")
        series.append(case)
        labels.append(label.strip())
    if not series:
        raise UsageError(f"{path} is damaged or another file: it holds no cases after @data")
    return series, labels


DATASETS = (CharTrajectories(),)
