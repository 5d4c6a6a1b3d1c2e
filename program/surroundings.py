"""What a program finds around it, made usable: streams, the user's name, a place for pictures."""

from __future__ import annotations

import getpass
import os

from program import streams


def make_usable() -> None:
    """Let a program run without a terminal, a user's name or a screen; the first that it does."""
    streams.make_usable()
    name_user()
    os.environ["MPLBACKEND"] = "Agg"  # pictures go to files, whatever a terminal is set to


def name_user() -> None:
    """Give the user a name where there is none, as in containers started under any number.

    PyTorch's compiler, which its optimizers load, and W&B ask for it, and fail without.
    """
    try:
        getpass.getuser()
    except (KeyError, OSError):
        os.environ["LOGNAME"] = f"user-{os.getuid()}"
