"""Files written whole or not at all, whatever stops the writing.

A file is written under a temporary name, of this process alone, and takes its own name once it is
complete. Which of several processes writes is for the caller to say.
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import secrets
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from ckconv.errors import UsageError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PICTURES = ("png", "pdf", "svg")


@contextlib.contextmanager
def complete(path: Path) -> Iterator[Path]:
    """A temporary path with the same suffix to write to, which becomes `path` at the end.

    Nothing is left of it after an exception. Raises `OSError` naming `path`.
    """
    own = f"{os.getpid()}-{secrets.token_hex(4)}"  # containers have the same process numbers
    temporary = path.with_name(f".{path.stem}.{own}.part{path.suffix}")
    try:
        yield temporary
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def sweep(folder: Path) -> None:
    """Remove what processes that were killed while they wrote left in a folder and those in it.

    For a folder that no other process is writing to.
    """
    for pattern in (".*.part", ".*.part.*"):
        for path in (*folder.glob(pattern), *folder.glob(f"*/{pattern}")):
            with contextlib.suppress(OSError):
                path.unlink()


def write(path: Path, content: str | bytes | memoryview) -> None:
    """Write text, as UTF-8, or bytes."""
    with complete(path) as temporary:
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)


def write_json(path: Path, values: Any, indent: int = 2) -> None:
    """Write plain values as JSON, which has no word for infinity or for what is not a number.

    Raises `ValueError` for those.
    """
    write(path, json.dumps(values, indent=indent, allow_nan=False) + "\n")


def write_csv(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write rows that may have different columns as one CSV file."""
    rows = list(rows)
    text = io.StringIO()
    writer = csv.DictWriter(
        text, list(dict.fromkeys(key for row in rows for key in row)), lineterminator="\n"
    )
    writer.writeheader()
    writer.writerows(rows)
    write(path, text.getvalue())


def write_tensors(path: Path, content: Mapping[str, Any]) -> None:
    """Write tensors and plain values as `torch.save` does."""
    buffer = io.BytesIO()
    torch.save(content, buffer)
    write(path, buffer.getbuffer())


def write_figure(path: Path, figure: Figure, dpi: int) -> None:
    """Draw a matplotlib figure into a PNG, a PDF or an SVG, by the path's ending.

    Raises `UsageError` for another one.
    """
    kind = path.suffix.lower().removeprefix(".")
    if kind not in PICTURES:
        raise UsageError(f"{path}: pictures are written as .{', .'.join(PICTURES)}")
    buffer = io.BytesIO()
    figure.savefig(buffer, format=kind, dpi=dpi)
    write(path, buffer.getbuffer())
