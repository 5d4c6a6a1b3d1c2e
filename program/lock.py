"""One process at a time in a run's folder."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from program import distributed
from program.files import sweep
from program.folder import LOCK, FolderTaken

PATIENCE = 10  # seconds: the workers of a process that was killed outlive it by some


@contextlib.contextmanager
def own_folder(folder: Path) -> Iterator[None]:
    """Hold a run's folder; of processes that train together the first one holds it for all.

    The system drops the lock of a process that ends, however it ends. What such a process left
    half written is removed. Raises `FolderTaken` where another run has the folder.
    """
    with contextlib.ExitStack() as stack:
        is_in_use = False
        if distributed.is_main():
            try:
                stack.enter_context(FileLock(folder / LOCK, timeout=PATIENCE))
            except Timeout:
                is_in_use = True
        if distributed.agreed(is_in_use):
            raise FolderTaken(
                f"{folder}: another process is at work in this folder; wait for it to end, or give "
                "another folder with hydra.run.dir"
            )
        if distributed.is_main():
            sweep(folder)
        yield
