"""What was made of a data set's files once, kept beside them for as long as they stay the same."""

from __future__ import annotations

import hashlib
import pickle
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

import torch
from torch import Tensor

from ckconv.errors import UsageError
from datasets.files.download import locked
from program.files import complete

MADE_OF = "made_of"


def fingerprint(paths: Iterable[Path]) -> str:
    """A digest of the names, sizes and times of change of files or folders; those that are
    missing count too. Of a folder it tells which files come and go, not what is in them.
    """
    digest = hashlib.sha256()
    for path in paths:
        try:
            found = path.stat()
            size = 0 if path.is_dir() else found.st_size
            digest.update(f"{path.name} {size} {found.st_mtime_ns}\n".encode())
        except OSError:
            digest.update(f"{path.name} is missing\n".encode())
    return digest.hexdigest()


def cached(
    path: Path, made_of: str | None, make: Callable[[], dict[str, Tensor]]
) -> dict[str, Tensor]:
    """The tensors of `path`, made and saved first where the file does not exist or is of others.

    `made_of` is the fingerprint of what they are made of; None takes the file for what it is. Where
    the tensors cannot be saved a line says so and they are used as they are. Raises `UsageError`
    for a file that cannot be read.
    """
    with locked(path.parent):
        kept = _read(path)
        if kept and made_of in (None, kept.get(MADE_OF)):
            return kept
        tensors = make()
        try:
            with complete(path) as temporary:
                torch.save({**tensors, MADE_OF: made_of}, temporary)
        except (OSError, RuntimeError) as error:
            print(f"{path} could not be kept for the next run: {error}", file=sys.stderr)
            return tensors
    return _read(path)


def _read(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        return {}
    try:
        return torch.load(path, map_location="cpu", mmap=True, weights_only=True)
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise UsageError(
            f"{path} is damaged ({error}): remove it, and it is made again from the data"
        ) from error
