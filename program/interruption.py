"""Signals that ask a run to leave: what a cluster sends before it takes a machine back."""

from __future__ import annotations

import os
import signal
import sys
import threading
import typing
from collections.abc import Callable
from pathlib import Path
from types import FrameType

from program import distributed

EXIT_CODE = 75  # "try again later" (EX_TEMPFAIL of sysexits.h): requeue the job
SIGNALS = ("SIGTERM", "SIGUSR1", "SIGUSR2")  # SLURM's and, with USR2, submitit's


class Interrupted(SystemExit):
    """A run was asked to leave and has saved its checkpoint."""

    def __init__(self, folder: Path, signal_name: str) -> None:
        super().__init__(EXIT_CODE)
        self.folder, self.signal_name = folder, signal_name


class Interruption:
    """A context in which signals are noted, to be obeyed between two training steps.

    Args:
        save: writes the checkpoint.
        folder: where it is written.
    """

    def __init__(self, save: Callable[[], None], folder: Path) -> None:
        self.save, self.folder = save, folder
        self.received: int | None = None
        self.earlier: dict[int, object] = {}

    def __enter__(self) -> Interruption:
        if threading.current_thread() is threading.main_thread():
            for name in SIGNALS:
                if hasattr(signal, name):
                    number = getattr(signal, name)
                    self.earlier[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *exception: object) -> None:
        for number, handler in self.earlier.items():
            signal.signal(number, handler)
        self.earlier = {}

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.received = number

    def is_asked(self) -> bool:
        """Whether any process of the run has been asked to leave."""
        return distributed.any_rank(self.received is not None)

    def obey(self) -> None:
        """Save the checkpoint and raise `Interrupted`.

        A handler that was there before, as submitit's, which requeues the job, is called instead
        of raising; where it returns the run goes on.
        """
        self.save()
        number, self.received = self.received, None
        handler = self.earlier.get(number)
        if callable(handler):
            signal.signal(number, handler)
            signal.raise_signal(number)  # as if it had come now
            signal.signal(number, self._note)
            return
        name = signal.Signals(number).name if number else "a signal to another process"
        raise Interrupted(self.folder, name)


def hang_up() -> typing.NoReturn:
    """End quietly, as after a SIGPIPE: whoever read the output, `head` for one, has left."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for what is still buffered
    sys.exit(128 + signal.SIGPIPE)
