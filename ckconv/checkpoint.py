"""Checkpoint files: reading this library's and others' with suspicion, writing whole ones."""

from __future__ import annotations

import contextlib
import os
import pickle
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from ckconv.errors import UsageError, reason

FORMAT = "flexconv checkpoint 1"  # what the checkpoints of the training programs say of themselves


def read(path: Path) -> dict[str, Any]:
    """Read a checkpoint, ours or another's, without running any code that it carries.

    Raises `UsageError` for a file that is missing, truncated, no checkpoint, or that holds more
    than tensors and plain values.
    """
    if path.is_dir() or not path.exists():
        what = "is a folder" if path.is_dir() else "does not exist"
        raise UsageError(f"{path}: {what}; give the path of a checkpoint file")
    try:
        check_intact(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what is odd about the file is said below
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if "global" in str(error).lower() or "reduce" in str(error).lower():
            raise UsageError(
                f"{path}: holds objects other than tensors and plain values, which could run code "
                "when loaded; only plain checkpoints are read"
            ) from error
        raise UsageError(f"{path}: is not a checkpoint") from error
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise UsageError(f"{path}: cannot be read, {why}; give a file that can be") from error
    except MemoryError:
        raise
    except Exception as error:  # torch reports damaged archives by many kinds of exception
        raise UsageError(
            f"{path}: is truncated or not a checkpoint; give a file that was written completely"
        ) from error
    if not isinstance(content, dict):
        raise UsageError(f"{path}: holds a {type(content).__name__}, not a checkpoint")
    return content


@contextlib.contextmanager
def fitting(
    path: Path,
    misfit: str = "does not hold what belongs there",
    advice: str = "give a file of this version of the code that nobody has changed",
) -> Iterator[None]:
    """Around the use of what `path` holds: `UsageError` naming it for whatever does not fit."""
    try:
        yield
    except (UsageError, OSError, MemoryError):
        raise
    except Exception as error:  # torch and OmegaConf report what does not fit in many ways
        why = f"{error} is missing" if isinstance(error, KeyError) else reason(error)
        raise UsageError(f"{path}: {misfit} ({why}); {advice}") from error


def check_intact(path: Path) -> None:
    """Raise `ValueError` where a bit of a file by `torch.save` has changed since.

    It is an archive with a checksum (CRC-32) of every tensor, which `torch.load` does not look at.
    Files of other kinds pass.
    """
    if not zipfile.is_zipfile(path):
        return
    with zipfile.ZipFile(path) as archive:
        damaged = archive.testzip()
    if damaged:
        raise ValueError(f"the checksum of {damaged} is wrong")


def write_whole(path: Path, content: bytes) -> None:
    """Write a file under another name first: it is there whole or not at all."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        temporary.write_bytes(content)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def is_ours(content: dict[str, Any]) -> bool:
    """Whether `read` gave a checkpoint that `save` wrote."""
    return content.get("format") == FORMAT
