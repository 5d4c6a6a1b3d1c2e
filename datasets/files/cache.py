"""What was made of a data set's files once, kept beside them for as long as they stay the same."""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ckconv.checkpoint import check_intact
from ckconv.errors import UsageError, reason
from datasets.files.download import locked
from program.files import complete

MADE_OF = "made_of"


@dataclass(frozen=True)
class Held:
    """What a tensor in a cache has to be: its type, shape and range, its numbers finite.

    A word in the shape is a length that all tensors share in which it stands.
    """

    dtype: torch.dtype
    shape: tuple[int | str, ...]
    least: float | None = None
    most: float | None = None


def fingerprint(paths: Iterable[Path]) -> str:
    """A digest of the names, sizes and times of change of files, and of those in folders; those
    that are missing count too. What is changed under its old size and time is not noticed.
    """
    digest = hashlib.sha256()
    for path in paths:
        try:
            digest.update(_stamp(path.name, path.stat()))
            if path.is_dir():
                with os.scandir(path) as entries:
                    for entry in sorted(entries, key=attrgetter("name")):
                        digest.update(_stamp(entry.name, entry.stat()))
        except OSError:
            digest.update(f"{path.name} is missing\n".encode())
    return digest.hexdigest()


def _stamp(name: str, found: os.stat_result) -> bytes:
    """What tells a file from another that takes its place; of a folder, when its files came."""
    size = 0 if stat.S_ISDIR(found.st_mode) else found.st_size
    return os.fsencode(f"{name} {size} {found.st_mtime_ns}\n")


def cached(
    path: Path,
    made_of: str | None,
    make: Callable[[], dict[str, Tensor]],
    check: Callable[[dict[str, Tensor]], None],
) -> dict[str, Tensor]:
    """The tensors of `path`, made and saved first where the file does not exist or is of others.

    `made_of` is the fingerprint of what they are made of; None takes the file for what it is.
    `check` raises `ValueError` for tensors that cannot have been made. Where the tensors cannot be
    saved a line says so and they are used as they are. Raises `UsageError` for a file that cannot
    be read, of which a bit has changed, or that holds something else.
    """
    with locked(path.parent) as is_locked:
        if is_locked:
            sweep_parts(path)
        kept = _read(path)
        if kept and made_of in (None, kept.get(MADE_OF)):
            try:
                check(kept)
            except ValueError as error:
                raise _damaged(path, error) from error
            return kept
        tensors = make()
        try:
            with complete(path) as temporary:
                torch.save({**tensors, MADE_OF: made_of}, temporary)
        except (OSError, RuntimeError) as error:
            print(f"{path} could not be kept for the next run: {error}", file=sys.stderr)
            return tensors
    return _read(path)


def sweep_parts(path: Path) -> None:
    """Remove what a process that was killed while it wrote `path` has left. To be called by the
    one process that may write it.
    """
    stem = path.stem.partition(".")[0]
    for pattern in (f".{stem}.*.part*", f"{stem}.*.part", f"{stem}.*.part.npy"):
        for left in path.parent.glob(pattern):
            with contextlib.suppress(OSError):
                left.unlink()


def check_held(tensors: dict[str, Any], **expected: Held) -> None:
    """Raise `ValueError` for tensors that are missing or not as they have to be."""
    lengths: dict[str, int] = {}
    for name, held in expected.items():
        tensor = tensors.get(name)
        if not isinstance(tensor, Tensor) or tensor.dtype != held.dtype:
            raise ValueError(f"{name} is not a tensor of {held.dtype}")
        shape = tuple(tensor.shape)
        if len(shape) == len(held.shape):
            named = [(n, size) for n, size in zip(held.shape, shape) if isinstance(n, str)]
            lengths = dict(named) | lengths
        if shape != tuple(lengths.get(n, n) for n in held.shape) or not tensor.numel():
            raise ValueError(f"{name} has the shape {shape}")
        least, most = (x.item() for x in tensor.aminmax())
        too_low = held.least is not None and least < held.least
        too_high = held.most is not None and most > held.most
        if too_low or too_high or not abs(least) + abs(most) < float("inf"):
            raise ValueError(f"{name} has values from {least} to {most}")


def _read(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        return {}
    try:
        check_intact(path)
        kept = torch.load(path, map_location="cpu", mmap=True, weights_only=True)
    except MemoryError:
        raise
    except Exception as error:  # torch reports damaged files by many kinds of exception
        raise _damaged(path, error) from error
    if not isinstance(kept, dict):
        raise _damaged(path, TypeError(f"it holds a {type(kept).__name__}"))
    return kept


def _damaged(path: Path, error: Exception) -> UsageError:
    return UsageError(
        f"{path} is damaged ({reason(error)}): remove it, and it is made again from the data"
    )
