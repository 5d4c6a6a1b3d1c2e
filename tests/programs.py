"""Programs as a user starts them, each in a process of its own, without waiting for their imports.

Importing torch takes longer than most programs of the tests run. Here one process has imported it,
with what else lies outside the repository, and every program is a fork of that one: with its own
arguments, folder, environment and streams, and everything of the repository imported anew.
"""

from __future__ import annotations

import multiprocessing
import os
import runpy
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
ROOMS = ("cfg", "ckconv", "datasets", "models", "program", "training")
IMPORTED = ("torch", "torch._dynamo", "torchvision.transforms.v2", "hydra", "sklearn.datasets")
IMPORTED += ("matplotlib.figure", "matplotlib.backends.backend_agg")
SERVER = multiprocessing.get_context("forkserver" if sys.platform == "linux" else "spawn")
SERVER.set_forkserver_preload(list(IMPORTED))


def run(
    program: str | Path,
    *arguments: str,
    cwd: str | Path = PROJECT,
    env: Mapping[str, str] | None = None,
    timeout: float = 300,
) -> subprocess.CompletedProcess[str]:
    """What `python program arguments` gave, typed in the folder `cwd`."""
    command = [str(program), *arguments]
    with tempfile.TemporaryDirectory() as streams:
        given = (command, str(cwd), dict(env or os.environ), streams)
        process = SERVER.Process(target=_play, args=given)
        process.start()
        process.join(timeout)
        if process.exitcode is None:
            process.kill()
            raise subprocess.TimeoutExpired(command, timeout)
        out, errors = (Path(streams, name).read_text() for name in ("out", "err"))
    return subprocess.CompletedProcess(command, process.exitcode, out, errors)


def _play(command: list[str], cwd: str, env: dict[str, str], streams: str) -> None:
    for descriptor, name in ((1, "out"), (2, "err")):
        os.dup2(os.open(Path(streams, name), os.O_WRONLY | os.O_CREAT), descriptor)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(env)
    ours = {str(PROJECT), str(PROJECT / "tests"), ""}
    sys.argv, folder = command, str(Path(command[0]).parent.resolve())
    sys.path[:] = [folder, *(path for path in sys.path if path not in ours)]
    runpy.run_path(command[0], run_name="__main__")


def copy_with(folder: Path, file: str, content: str) -> Path:
    """A copy of the project in `folder` that has one more file, and its name in its room's `FILES`.

    Returns the copy's `run_experiment.py`.
    """
    for room in ROOMS:
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(PROJECT / room, folder / room, ignore=ignored)
    new = folder / file
    new.write_text(content)
    table = new.parent / "__init__.py"
    text = table.read_text()
    assert text.count("\nFILES = (") == 1
    table.write_text(text.replace("\nFILES = (", f'\nFILES = ("{new.stem}", '))
    return Path(shutil.copy(PROJECT / "run_experiment.py", folder))
