"""TimeSeries: series of one's own in tables, CSV or Parquet, or in `.ts` files."""

from __future__ import annotations

from cfg.schema import Columns

from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ckconv.errors import UsageError
from datasets.base import Request
from datasets.files.tables import TABLES, Case, cases_of, read_table
from datasets.files.ts import has_numbers_for_labels, read_ts
from datasets.own.base import TEST, TRAIN, VALIDATION, Content, OwnData, Part
from datasets.own.targets import encode
from datasets.own.times import EVEN, with_times

COLUMNS = "dataset_params.columns"
ENDINGS = (*TABLES, ".ts")
PARTS = {"train": TRAIN, "val": VALIDATION, "validation": VALIDATION, "test": TEST}


class TimeSeries(OwnData):
    """The series of one file, `dataset_params.root`, or of a folder's train, val and test files.

    In a table every row is a step: `dataset_params.columns` says which column holds the series'
    name, the time, the label (one for the series, or one per step; words and whole numbers are
    classes, numbers with a point are predicted), and which the channels. Of the UCR and UEA
    archives a folder holds NAME_TRAIN.ts and NAME_TEST.ts.

    Where steps are not equally far apart, in all series alike, the networks convolve at the true
    times. Shorter series are read to their own last step; the padding behind it counts in nothing.
    """

    name = "TimeSeries"
    flags = frozenset({"columns"})

    def content(self, request: Request) -> Content:
        files = part_files(request.root)
        changed = max(path.stat().st_mtime_ns for path in files.values())
        columns = request.params.columns
        named = (columns.series, columns.time, tuple(columns.channels), columns.label)
        return _read(tuple(files.items()), named, changed)


def part_files(root: Path) -> dict[str, Path]:
    """The files that `root` is or holds, by what they are for. Raises `UsageError` for none."""
    if root.is_file():
        return {TRAIN: root}
    found = {}
    for path in sorted(root.glob("*")) if root.is_dir() else []:
        stem = path.stem.lower()
        part = PARTS.get(stem.rpartition("_")[2]) if path.suffix.lower() in ENDINGS else None
        if part in found:
            raise UsageError(
                f"{root}: both {found[part].name} and {path.name} are for {part}; keep one"
            )
        if part:
            found[part] = path
    if TRAIN not in found:
        what = "has no train file" if root.is_dir() else "does not exist"
        raise UsageError(
            f"dataset_params.root={root}: {what}; give a file ({', '.join(ENDINGS)}), or a folder "
            "with train.csv and test.csv, or NAME_TRAIN.ts and NAME_TEST.ts"
        )
    return found


def read_cases(path: Path, columns: Columns, labelled: bool = True) -> list[Case]:
    """The series of a file. Raises `UsageError`, with the row, for what is wrong in it."""
    if path.suffix.lower() != ".ts":
        return cases_of(read_table(path), columns, path, labelled)
    series, labels = read_ts(path)
    targets = np.array(labels)
    if has_numbers_for_labels(path):
        try:
            targets = targets.astype(np.float64)
        except ValueError as error:
            raise UsageError(f"{path}: a target is no number ({error})") from error
    return [Case(str(i), x, None, y) for i, (x, y) in enumerate(zip(series, targets))]


@lru_cache(maxsize=1)
def _read(files: tuple[tuple[str, Path], ...], columns: tuple, _changed: int) -> Content:
    cases = {part: read_cases(path, Columns(*columns)) for part, path in files}
    where = str(dict(files)[TRAIN])
    length = max(len(case) for group in cases.values() for case in group)
    _check_alike(cases, dict(files), length)
    step = time_step(cases[TRAIN])
    if step is not None and all(is_even(case, step) for group in cases.values() for case in group):
        step = None
    inputs = {part: stacked(group, length, step) for part, group in cases.items()}
    lengths = {part: np.array([len(case) for case in group]) for part, group in cases.items()}
    padded = any((own < length).any() for own in lengths.values())
    targets = {part: np.stack([case.target for case in group]) for part, group in cases.items()}
    encoded, class_names = encode(targets, where, length)
    parts = {
        part: Part(encoded[part], inputs[part], lengths=lengths[part] if padded else None)
        for part in inputs
    }
    return Content(parts, inputs[TRAIN].shape[1], (length,), class_names, step)


def stacked(cases: list[Case], length: int, step: float | None) -> NDArray:
    """Samples (N, C, length) of cases that are at most as long, padded by their last step.

    With a `step` the times are a last channel; those of the padding lie one step apart.
    """
    values, times = [], []
    for case in cases:
        missing = length - len(case)
        values.append(np.pad(case.values, ((0, 0), (0, missing)), mode="edge"))
        if step is not None:
            after = case.times[-1] + step * np.arange(1, missing + 1)
            times.append(np.concatenate([case.times, after]))
    inputs = np.stack(values)
    return inputs if step is None else with_times(inputs, np.stack(times))


def time_step(cases: list[Case]) -> float | None:
    """The largest mean gap of a series, in which times are counted; None where there are none.

    So a kernel as long as the longest series, in steps, reaches over each of them.
    """
    spans = [
        (c.times[-1] - c.times[0]) / (len(c) - 1)
        for c in cases
        if c.times is not None and len(c) > 1
    ]
    return float(max(spans)) if spans else None


def is_even(case: Case, step: float) -> bool:
    """Whether a series' samples lie one step apart."""
    return bool((np.abs(np.diff(case.times) - step) <= EVEN * step).all())


def _check_alike(cases: dict[str, list[Case]], files: dict[str, Path], length: int) -> None:
    """Raise `UsageError` for series with other channels, or targets, than the first."""
    first = cases[TRAIN][0]
    for part, group in cases.items():
        for case in group:
            where = f"{files[part]}, series {case.name}"
            if len(case.values) != len(first.values):
                raise UsageError(
                    f"{where}: has {len(case.values)} channels, the first one {len(first.values)}"
                )
            if case.target is None:
                raise UsageError(f"{where}: has no label; name its column by {COLUMNS}.label=...")
            per_step = any(c.target is not None and c.target.ndim for c in group)
            if per_step and len(case) != length:
                raise UsageError(
                    f"{where}: has {len(case)} steps, the longest {length}; with a label per step "
                    "all must be equally long"
                )
            if per_step and not case.target.ndim:
                case.target = np.repeat(case.target, length)


DATASETS = (TimeSeries(),)
