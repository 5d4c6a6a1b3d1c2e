"""CharTrajectories: handwritten characters as pen movements (UEA CharacterTrajectories)."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ckconv.errors import UsageError
from datasets.base import Dataset, Request, Splits, sampled_length
from datasets.files.cache import Held, cached, check_held, fingerprint
from datasets.files.download import Remote, obtain, unpack_zip
from datasets.files.ts import named_classes, read_ts
from datasets.series import series_splits
from datasets.split import three_way_sizes
from datasets.task import Task

ARCHIVE = Remote(
    "CharacterTrajectories.zip",
    ("https://www.timeseriesclassification.com/aeon-toolkit/CharacterTrajectories.zip",),
)
FEWEST_CASES = 7  # of a class, for three stratified splits
FILES = ("CharacterTrajectories_TRAIN.ts", "CharacterTrajectories_TEST.ts")


class CharTrajectories(Dataset):
    """20 characters, 3 channels, 182 steps; shorter ones are padded by their last value.

    The papers' networks read that padding too. With `dataset_params.lengths` each one ends with its
    own last step.

    The archive has no published digest: the numbers of cases, channels, steps and classes are
    checked instead. Files that hold fewer cases are taken with a warning. Both files together are
    split anew, 70/15/15.
    """

    name = "CharTrajectories"
    flags = frozenset({"lengths", "drop_rate", "sr_train", "sr_test"})
    cases, channels, length, classes = 2858, 3, 182, 20

    def describe(self, request: Request) -> Task:
        params = request.params
        return Task(
            self.name,
            self.channels + bool(params.drop_rate),
            self.classes,
            (sampled_length(self.length, request.every),),
            three_way_sizes(self.cases)[0],
            padded=params.lengths,
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
        made_of = fingerprint(sorted(folder.glob("*.ts*")))  # also where they are compressed
        made_of += " with lengths"
        data = cached(folder / "series.pt", made_of, lambda: self._read(folder), self._check)
        if len(data["series"]) < self.cases:
            print(
                f"{self.name}: {folder} holds {len(data['series']):,} of the archive's "
                f"{self.cases:,} cases; the splits are made of these",
                file=sys.stderr,
            )
        lengths = data["lengths"] if request.params.lengths else None
        return series_splits(request.params, data["series"], data["targets"], lengths=lengths)

    def _unpack(self, archives: Sequence[Path], into: Path) -> None:
        unpack_zip(archives[0], into, lambda path: str(path) in FILES)
        found = len(self._read(into)["series"])  # in place of a digest
        if found != self.cases:
            raise self._misfit(archives[0], found, self.length, self.classes)

    def _read(self, folder: Path) -> dict[str, Tensor]:
        series, labels, classes = [], [], []
        for name in FILES:
            more_series, more_labels = read_ts(folder / name)
            series += more_series
            labels += more_labels
            classes += named_classes(folder / name) + more_labels
        numbers = {label: number for number, label in enumerate(dict.fromkeys(classes))}
        targets = np.array([numbers[label] for label in labels], np.int64)
        channels = {case.shape[0] for case in series}
        longest = max(case.shape[1] for case in series)
        misfit = self._misfit(folder, len(series), longest, len(set(labels)))
        if channels != {self.channels} or longest > self.length:
            raise misfit
        padded = [np.pad(x, ((0, 0), (0, self.length - x.shape[1])), mode="edge") for x in series]
        data = {
            "series": torch.from_numpy(np.stack(padded)),  # (N, 3, 182)
            "targets": torch.from_numpy(targets),
            "lengths": torch.tensor([case.shape[1] for case in series]),  # (N,)
        }
        try:
            self._check(data)
        except ValueError as error:
            raise misfit from error
        return data

    def _check(self, data: dict[str, Tensor]) -> None:
        """Raise `ValueError` for what are not the cases of the archive, or a part of them."""
        check_held(
            data,
            series=Held(torch.float32, ("cases", self.channels, self.length)),
            targets=Held(torch.int64, ("cases",), 0, self.classes - 1),
            lengths=Held(torch.int64, ("cases",), 1, self.length),
        )
        fewest = data["targets"].bincount(minlength=self.classes).min().item()
        if len(data["targets"]) > self.cases or fewest < FEWEST_CASES:
            raise ValueError(f"{len(data['targets'])} cases, {fewest} of the rarest class")

    def _misfit(self, place: Path, cases: int, longest: int, classes: int) -> UsageError:
        return UsageError(
            f"{place} does not hold {self.name}: {cases} cases of up to {longest} steps and "
            f"{classes} classes, where {self.cases}, {self.length} and {self.classes} belong; "
            "remove it to have it downloaded again"
        )


DATASETS = (CharTrajectories(),)
