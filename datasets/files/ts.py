"""The `.ts` files of the UCR and UEA archives of time series."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ckconv.errors import UsageError
from datasets.files.download import read_file

MARK = ["@classlabel", "true"]


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


def named_classes(path: Path) -> list[str]:
    """The classes that the header of a `.ts` file names, in its order; none where it names none."""
    header = read_file(path).decode("utf-8", errors="replace").partition("@data")[0]
    lines = [line.split() for line in header.splitlines()]
    return next((words[2:] for words in lines if [w.lower() for w in words[:2]] == MARK), [])


def has_numbers_for_labels(path: Path) -> bool:
    """Whether the header says that the last value of a case is a number to predict."""
    header = read_file(path).decode("utf-8", errors="replace").lower().partition("@data")[0]
    return "@targetlabel true" in header
