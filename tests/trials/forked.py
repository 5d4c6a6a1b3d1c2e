"""Programs run in forked processes, so that PyTorch is imported once for hundreds of runs."""

from __future__ import annotations

import os
import re
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

SENTENCE, RAN, STACK, SILENT, HUNG = "one sentence", "ran", "a stack", "no word", "hung"
PATIENCE = 900  # seconds, on a busy machine


@dataclass
class Started:
    """A process that was started, and the files that its streams go to."""

    pid: int
    out: Path
    err: Path

    def wait(self, seconds: float = PATIENCE) -> int | None:
        """The exit status, negative for a signal; None where it had to be killed for its time."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                return os.waitstatus_to_exitcode(status)
            time.sleep(0.02)
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        return None


def start(
    main: Callable[[], None],
    arguments: list[str],
    folder: Path,
    environment: dict[str, str] | None = None,
    before: Callable[[], None] | None = None,
) -> Started:
    """Run `main` in a child process in `folder`; `before` prepares the child."""
    name = f"{time.monotonic_ns()}"
    started = Started(0, folder / f".{name}.out", folder / f".{name}.err")
    sys.stdout.flush()
    sys.stderr.flush()
    started.pid = os.fork()
    if started.pid:
        return started
    status = 1
    try:
        for number, path in ((1, started.out), (2, started.err)):
            os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), number)
        os.chdir(folder)
        os.environ |= environment or {}
        sys.argv = arguments
        if before:
            before()
        main()
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 1
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
    finally:
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            os._exit(status)


def outcome(status: int | None, out: str, err: str) -> tuple[str, str]:
    """How a program took its input, and what it said."""
    said = " ".join(line for line in err.splitlines() if line.startswith(("error: ", "usage: ")))
    if "Traceback (most recent call last)" in out + err:
        return STACK, err.strip().splitlines()[-1]
    if status is None:
        return HUNG, said
    if status == 0:
        return RAN, ""
    lines = re.findall(r"^error: .*", err, re.MULTILINE)
    return (SENTENCE if len(lines) == 1 else SILENT), said or err[-300:]


def answer(
    main: Callable[[], None],
    arguments: list[str],
    folder: Path,
    environment: dict[str, str] | None = None,
) -> tuple[str, str]:
    """How a program in a child process takes its input, and what it says."""
    child = start(main, arguments, folder, environment)
    status = child.wait()
    out, err = (path.read_text(errors="replace") for path in (child.out, child.err))
    child.out.unlink()
    child.err.unlink()
    return outcome(status, out, err)


def warm_up() -> None:
    """Run a small training here, so that what it imports and looks up is there in all children.

    From then on pictures are files that hold a word: drawing them takes most of a short run.
    """
    from matplotlib.figure import Figure
    from small_runs import SMALL_NETWORK

    import run_experiment

    short = ["conv.horizon=9", "train.epochs=1", "train.max_batches=1"]
    with tempfile.TemporaryDirectory() as place:
        sys.argv = ["run_experiment.py", *SMALL_NETWORK, *short, f"hydra.run.dir={place}/run"]
        run_experiment.main()
    run_experiment.save_kernels = lambda *_: None
    Figure.savefig = lambda figure, file, **_: file.write(b"a picture")
