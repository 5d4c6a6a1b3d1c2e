"""Where results go: a folder, and a CSV file that grows by a row per fit."""

from __future__ import annotations

import csv
import os
from pathlib import Path
from typing import Any

from ckconv.errors import UsageError
from program.files import write_csv

DEFAULT_FOLDER = Path(__file__).resolve().parent / "outputs"


def output_folder(given: str) -> Path:
    """The folder of the results, made where it is missing.

    Raises `UsageError` where it cannot be made or written to.
    """
    folder = Path(given).expanduser() if given else DEFAULT_FOLDER
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"out={folder}: cannot be made a folder ({error.strerror})") from error
    if not os.access(folder, os.W_OK):
        raise UsageError(f"out={folder}: may not be written to; give another folder")
    return folder


def append_row(path: Path, row: dict[str, Any]) -> None:
    """Append a row to a CSV file; one with other columns is rewritten with those of both."""
    row = {name: "" if value is None else value for name, value in row.items()}
    if not path.exists():
        write_csv(path, [row])
        return
    with open(path, newline="") as file:
        reader = csv.DictReader(file)
        columns = reader.fieldnames or []
        rows = list(reader)
    if list(row) != columns:
        write_csv(path, [*rows, row])
        return
    with open(path, "a", newline="") as file:
        csv.DictWriter(file, columns, lineterminator="\n").writerow(row)
