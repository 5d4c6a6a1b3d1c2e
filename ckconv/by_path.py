"""What is not in a table, by the place where it is defined: `package.module:Name`."""

from __future__ import annotations

import importlib
import os
import sys
from typing import Any

from ckconv.errors import UsageError


def is_path(name: str) -> bool:
    """Whether `name` says where to find something, rather than which line of a table it is."""
    return ":" in str(name)


def find(flag: str, path: str) -> Any:
    """What `path`, as `package.module:Name`, names; modules are also looked for in this folder.

    The name is all that is needed to find it again, also in another process. Raises `UsageError`,
    naming `flag`, where there is no such module or nothing of that name in it.
    """
    module_name, _, name = path.partition(":")
    if not all(part.isidentifier() for part in (*module_name.split("."), *name.split("."))):
        raise UsageError(f"{flag}={path}: write package.module:Name")
    folder = os.getcwd()
    if folder not in sys.path:
        sys.path.append(folder)
    try:
        found: Any = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise  # the module is there, but something that it imports is not
        raise UsageError(
            f"{flag}={path}: there is no module {error.name}; it is looked for in {folder} and on "
            "PYTHONPATH"
        ) from error
    for part in name.split("."):
        if not hasattr(found, part):
            raise UsageError(f"{flag}={path}: {module_name} has no {name}")
        found = getattr(found, part)
    return found
