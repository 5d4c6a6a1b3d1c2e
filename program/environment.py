"""What it takes to repeat a run: the code's version, the packages, the machine."""

from __future__ import annotations

import functools
import importlib.metadata
import platform
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch

from program.distributed import local_world_size, world_size

ROOT = Path(__file__).resolve().parent.parent


def environment(device: torch.device) -> dict[str, Any]:
    """Command line, commit, the packages that are installed and the device of this process."""
    return {
        "command": command(),
        **code_version(),
        "python": platform.python_version(),
        "packages": packages(),
        "platform": platform.platform(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "processes": world_size(),
        "threads": torch.get_num_threads(),
    }


@functools.cache
def code_version() -> dict[str, Any]:
    """The commit of the code and whether it was changed, when this was first called.

    A run calls it as it starts: by its end the files may be others than those that ran.
    """
    return {
        "commit": _git("rev-parse", "HEAD"),
        "dirty": bool(_git("status", "--porcelain", "--untracked-files=no")),
    }


@functools.cache
def packages() -> dict[str, str]:
    """The version of every package that is installed, by name; of one found twice, the first."""
    found: dict[str, str] = {}
    for distribution in importlib.metadata.distributions():
        name = distribution.metadata["Name"]
        if name:
            found.setdefault(name.lower(), distribution.version)
    return dict(sorted(found.items()))


def commit() -> str | None:
    """The commit of the code, short, and whether it was changed; None where there is no git."""
    version = code_version()
    if version["commit"] is None:
        return None
    return version["commit"][:12] + (" with changes" if version["dirty"] else "")


def command() -> str:
    """The command line of this process."""
    launcher = ["python"]
    if world_size() > 1:
        nodes = world_size() // local_world_size()
        launcher = ["torchrun", f"--nnodes={nodes}", f"--nproc_per_node={local_world_size()}"]
    return shlex.join([*launcher, *sys.argv])


def _git(*arguments: str) -> str | None:
    """What git says of this repository; None where there is no git or no repository."""
    command = ["git", "-C", str(ROOT), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
