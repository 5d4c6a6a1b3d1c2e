"""Tables of time series, CSV and Parquet, by pandas: a row is one step of one series."""

from __future__ import annotations

from cfg.schema import Columns

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ckconv.errors import UsageError

if TYPE_CHECKING:
    from pandas import DataFrame, Series

FLAG = "dataset_params.columns"
TABLES = (".csv", ".tsv", ".parquet", ".pq")


@dataclass
class Case:
    """One time series."""

    name: str
    values: NDArray  # (C, L) float32
    times: NDArray | None = None  # (L,) float64, increasing; None: one step apart
    target: NDArray | None = None  # () or, per step, (L,)

    def __len__(self) -> int:
        """Its steps."""
        return self.values.shape[1]


def read_table(path: Path) -> DataFrame:
    """The table of a .csv, .tsv or .parquet file.

    Raises `UsageError` naming the file where it cannot be read, and what to install.
    """
    try:
        import pandas
    except ImportError as error:
        raise UsageError(
            f"{path}: tables are read by pandas, which is not installed; pip install pandas "
            "pyarrow adds it"
        ) from error
    try:
        if path.suffix.lower() in (".parquet", ".pq"):
            return pandas.read_parquet(path)
        return pandas.read_csv(path, sep="\t" if path.suffix.lower() == ".tsv" else ",")
    except ImportError as error:
        raise UsageError(f"{path}: Parquet needs pyarrow; pip install pyarrow adds it") from error
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror or error})") from error
    except ValueError as error:  # ParserError, EmptyDataError and UnicodeDecodeError among them
        raise UsageError(f"{path}: is not a readable table ({error})") from error


def cases_of(table: DataFrame, columns: Columns, path: Path, labelled: bool = True) -> list[Case]:
    """The series of a table, in the order of their first rows, each sorted by time.

    With `labelled` a column of labels must be there: one label for a series, or one per step.
    Raises `UsageError`, with the row, for what is missing or of the wrong kind.
    """
    _check_columns(table, columns, path, labelled)
    codes, names = table[columns.series].factorize()
    _check_rows(codes >= 0, table[columns.series], path, "no series")
    times = (
        _times(table[columns.time], path) if columns.time else np.arange(len(table), dtype=float)
    )
    order = np.lexsort((times, codes))
    starts = np.flatnonzero(np.diff(codes[order], prepend=-1))
    values = _values(table, columns, path)
    labels = _labels(table, columns, path) if labelled and columns.label else None
    cases = []
    for name, rows in zip(names, np.split(order, starts[1:])):
        own = times[rows] if columns.time else None
        if own is not None:
            again = np.flatnonzero(np.diff(own) == 0)
            _check_rows(
                len(again) == 0,
                table[columns.time],
                path,
                "a time for the second time",
                rows[again + 1],
            )
        target = None if labels is None else labels[rows]
        if target is not None and (target == target[0]).all():
            target = target[0]  # one label for the whole series
        cases.append(Case(str(name), values[:, rows], own, target))
    return cases


def _check_columns(table: DataFrame, columns: Columns, path: Path, labelled: bool) -> None:
    for flag in ("series", "time", "label"):
        name = getattr(columns, flag)
        if (name or flag == "series") and (labelled or flag != "label") and name not in table:
            raise UsageError(
                f"{path}: has no column {name!r}, but {', '.join(map(repr, table.columns))}; name "
                f"it by {FLAG}.{flag}=..." + (", empty for none" if flag == "time" else "")
            )
    if not len(table):
        raise UsageError(f"{path}: holds no rows")


def _values(table: DataFrame, columns: Columns, path: Path) -> NDArray:
    """The channels (C, rows), float32."""
    special = (columns.series, columns.time, columns.label)
    names = list(columns.channels) or [n for n in table.columns if n not in special]
    missing = [name for name in names if name not in table]
    if missing or not names:
        raise UsageError(
            f"{path}: has no column {missing[0]!r}"
            if missing
            else f"{path}: has no channels; name columns of numbers by {FLAG}.channels=[...]"
        )
    rows = []
    for name in names:
        numbers = _as_numbers(table[name])
        _check_rows(np.isfinite(numbers), table[name], path, "no number")
        rows.append(numbers.astype(np.float32))
    return np.stack(rows)


def _times(column: Series, path: Path) -> NDArray:
    """Numbers, or dates in seconds from the first one."""
    import pandas

    times = _as_numbers(column)
    if not np.isfinite(times).any():
        dates = pandas.to_datetime(column, errors="coerce", utc=True, format="ISO8601")
        _check_rows(dates.notna().to_numpy(), column, path, "no date as 2024-01-31 12:00")
        times = (dates - dates.min()).dt.total_seconds().to_numpy()
    _check_rows(np.isfinite(times), column, path, "no time")
    return times


def _labels(table: DataFrame, columns: Columns, path: Path) -> NDArray:
    column = table[columns.label]
    _check_rows(column.notna().to_numpy(), column, path, "no label")
    labels = column.to_numpy()
    return labels.astype(str) if labels.dtype.kind not in "fiub" else labels


def _as_numbers(column: Series) -> NDArray:
    import pandas

    return pandas.to_numeric(column, errors="coerce").to_numpy(np.float64)


def _check_rows(
    good: NDArray | bool, column: Series, path: Path, problem: str, rows: NDArray | None = None
) -> None:
    """Raise `UsageError` with the first row that is not good; a CSV file's first line is 1."""
    if np.all(good):
        return
    row = int(np.argmin(good)) if rows is None else int(rows[0])
    is_text = path.suffix.lower() not in (".parquet", ".pq")
    place = f"line {row + 2}" if is_text else f"row {row}"
    raise UsageError(
        f"{path}, {place}: the column {column.name!r} holds {column.iloc[row]}, {problem}"
    )
