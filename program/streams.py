"""Standard streams as they come: closed by a daemon, or of a console that knows ASCII alone."""

from __future__ import annotations

import contextlib
import os
import sys


def make_usable() -> None:
    """Let a program print whatever its streams are.

    What is closed becomes the null device, before files that are opened take its number; letters
    that a console does not have become question marks.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        with contextlib.suppress(OSError):
            _reopen(number)
        if getattr(sys, name) is None:
            mode = "r" if name == "stdin" else "w"
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")


def flush() -> None:
    """Write what is buffered, or give up on it where the standard output takes nothing more."""
    try:
        sys.stdout.flush()
    except OSError:
        discard()


def discard() -> None:
    """Send what is still buffered for the standard output to nowhere."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _reopen(number: int) -> None:
    """Open a descriptor that is closed on the null device."""
    try:
        os.fstat(number)
    except OSError:
        found = os.open(os.devnull, os.O_RDWR)  # the lowest that is free
        if found != number:
            os.dup2(found, number)
            os.close(found)
