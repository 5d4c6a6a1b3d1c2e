"""A user without a name, as in containers that are started under any number."""

from __future__ import annotations

import getpass
import os


def name_user() -> None:
    """Give the user a name where there is none.

    PyTorch's compiler, which its optimizers load, and W&B ask for it, and fail without.
    """
    try:
        getpass.getuser()
    except (KeyError, OSError):
        os.environ["LOGNAME"] = f"user-{os.getuid()}"
