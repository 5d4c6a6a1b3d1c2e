"""Runs killed at every write and every step, with two processes in one folder.

    python tests/trials/kills.py [--rounds 2] [--every 5]

In every trial two processes begin the same run in one folder. One gets it, and is killed at one of
its events; the other, which waited, goes on, and is killed too; a third brings the run to its end.
Its checkpoints and results are compared, bit for bit, with those of a run that nobody killed.
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(Path(__file__).parent)]

import cfg  # noqa: E402, F401  # before torch

import argparse  # noqa: E402
import json  # noqa: E402
import os  # noqa: E402
import random  # noqa: E402
import shutil  # noqa: E402
import signal  # noqa: E402
import tempfile  # noqa: E402
from collections import Counter  # noqa: E402
from typing import Any  # noqa: E402

import torch  # noqa: E402
from forked import start, warm_up  # noqa: E402
from small_runs import SMALL_NETWORK  # noqa: E402

import run_experiment  # noqa: E402
from program.lock import PATIENCE  # noqa: E402
from training.state import Training  # noqa: E402

FLAGS = ["conv.horizon=9", "train.epochs=2", "train.max_batches=3", "train.ema=0.9"]
FLAGS += ["net.dropout=0.2", "train.lr=0.002"]
EVENT = "event"


class Events:
    """Counts what a run does to files and weights, and kills it before one of these."""

    def __init__(self, last: int | None, log: Path) -> None:
        self.last, self.log, self.count = last, log, 0

    def happens(self, name: str) -> None:
        self.count += 1
        self.log.write_text(f"{self.count} {name}")
        if self.count == self.last:
            os.kill(os.getpid(), signal.SIGKILL)

    def watch(self) -> None:
        """Look at every write, half and whole, every renaming and every step from now on."""
        self._around(os, "fsync")
        self._around(os, "replace")
        self._around(Training, "step")
        self._around(Path, "unlink")
        write = Path.write_bytes

        def half_then_all(path: Path, content: bytes) -> int:
            if path == self.log:
                return write(path, content)
            write(path, bytes(content)[: len(content) // 2])
            self.happens(f"half of {path.name.split('.')[1]}")
            return write(path, content)

        Path.write_bytes = half_then_all

    def _around(self, owner: Any, name: str) -> None:
        function = getattr(owner, name)

        def counted(*args: Any, **named: Any) -> Any:
            self.happens(f"before {name}")
            result = function(*args, **named)
            self.happens(f"after {name}")
            return result

        setattr(owner, name, counted)


def begin(folder: Path, last: int | None):
    """A process that runs the training in `folder`, to be killed at its `last` event."""
    run = folder / "run"
    arguments = ["run_experiment.py", *SMALL_NETWORK, *FLAGS, f"hydra.run.dir={run}"]
    events = Events(last, folder / f"{last}.{random.random()}.{EVENT}")
    arguments.append("train.resume=auto")
    return start(run_experiment.main, arguments, folder, before=events.watch)


def state(run: Path) -> dict[str, Any]:
    """All that decides how a run went, without the time that it took."""
    found = {}
    for name in ("last.pt", "best.pt"):
        content = torch.load(run / name, weights_only=True)
        content["progress"].pop("seconds")
        for row in content["progress"]["history"]:
            row.pop("seconds")
        found[name] = {key: value for key, value in content.items() if key != "config"}
    result = json.loads((run / "result.json").read_text())
    kept = ("status", "test", "best_epoch", "best_result", "epochs", "kernel_sizes", "commits")
    return found | {name: result[name] for name in kept}


def same(one: Any, other: Any) -> bool:
    """Whether two trees of plain values and tensors are the same to the bit."""
    if isinstance(one, torch.Tensor):
        return isinstance(other, torch.Tensor) and torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other


def unbroken(folder: Path) -> tuple[dict[str, Any], int]:
    """The state of a run that nobody killed, and the number of its events."""
    folder.mkdir()
    assert begin(folder, None).wait() == 0, "the unbroken run failed"
    (log,) = folder.glob(f"*.{EVENT}")
    return state(folder / "run"), int(log.read_text().split()[0])


def trial(
    folder: Path, first: int, second: int, expected: dict[str, Any], ends: Counter[str]
) -> str:
    """Kill two processes in one folder, end the run with a third; what became of it.

    Counts in `ends` how the two ended: the second may reach the run's end, or give up waiting.
    """
    folder.mkdir()
    for child in [begin(folder, first), begin(folder, second)]:
        end, said = child.wait(), child.err.read_text()
        is_refused = end == 1 and said.count("\n") == 1 and "another process is at work" in said
        if end not in (0, -signal.SIGKILL) and not is_refused:
            return f"a process ended with {end}: {said}"
        ends["refused" if is_refused else "killed" if end else "finished"] += 1
    last = begin(folder, None)
    if last.wait() != 0:
        return "the last process failed: " + last.err.read_text()
    left = [path.name for path in (folder / "run").iterdir() if ".part" in path.name]
    if left:
        return f"left behind: {left}"
    return "the same to the bit" if same(state(folder / "run"), expected) else "another result"


def trials(rounds: int, every: int = 1) -> tuple[Counter[str], Counter[str]]:
    """What became of the runs of all trials, at every event or every n-th, and of the processes."""
    torch.set_num_threads(1)
    warm_up()
    found: Counter[str] = Counter()
    ends: Counter[str] = Counter()
    choose = random.Random(0)
    with tempfile.TemporaryDirectory() as place:
        expected, events = unbroken(Path(place, "whole"))
        print(f"{events} events of an unbroken run; a second process waits {PATIENCE} s for a lock")
        for number in range(rounds):
            for first in range(1, events + 1, every):
                folder = Path(place, f"{number}-{first}")
                become = trial(folder, first, choose.randint(1, events), expected, ends)
                found[become.splitlines()[0]] += 1
                shutil.rmtree(folder)
                print(f"round {number + 1}, event {first}: {become}", flush=True)
    return found, ends


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=1, help="trials at each event")
    parser.add_argument("--every", type=int, default=1, help="every n-th event alone")
    options = parser.parse_args()
    found, ends = trials(options.rounds, options.every)
    total = sum(found.values())
    print(f"\n| {total} runs, begun by two processes each | |\n| --- | --- |")
    print(f"| of the {2 * total} processes | {dict(ends)} |")
    for become, count in found.most_common():
        print(f"| {become} | {count} |")
    return int(found["the same to the bit"] != total)


if __name__ == "__main__":
    sys.exit(main())
