"""The small networks of weights/, tested or trained again: `python -m experiments.weights`."""

from __future__ import annotations

import cfg  # noqa: F401  # before torch, for how its threads wait

import json
import shlex
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ckconv.errors import UsageError, check_choice
from ckconv.findings import BEST, names
from program.folder import RESULT
from program.words.plain import flag, plain_program

ROOT = Path(__file__).resolve().parent.parent
WEIGHTS = ROOT / "weights"
CLOSE = 0.02  # of a training on another machine, where rounding differs: a few test samples


@dataclass
class Weights:
    do: str = flag("check", "check: test the networks again; train: train them again first")
    names: str = flag("", f"which, with commas between; empty: all of {', '.join(names())}")
    root: str = flag("", "where the data sets lie; empty: data/ in the repository")
    folder: str = flag("", "where the runs are kept; empty: nowhere")


@plain_program(Weights)
def main(flags: Weights) -> None:
    """Test the networks of weights/ again, or train them again, beside their records."""
    check_choice("do", flags.do, ("check", "train"))
    chosen = flags.names.split(",") if flags.names else names()
    for name in chosen:
        check_choice("names", name, names())
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(flags.folder or scratch).resolve()
        apart = [name for name in chosen if not again(name, flags, folder / name)]
    if apart:
        raise UsageError(f"{', '.join(apart)}: other results than those on record")


def again(name: str, flags: Weights, folder: Path) -> bool:
    """Run a network's command, or its test, in `folder`; whether the result is that on record."""
    record = read(WEIGHTS / name)
    command = [sys.executable, str(ROOT / "run_experiment.py"), "debug=True"]
    if flags.do == "train":
        command += [word for word in shlex.split(record["command"])[2:] if "run.dir=" not in word]
    else:
        given = WEIGHTS / name / BEST
        command += ["train.do=False", "pretrained=True", f"pretrained_params.filepath={given}"]
    command += [f"dataset_params.root={flags.root}", f"hydra.run.dir={folder}"]
    done = subprocess.run(command, stdout=subprocess.DEVNULL, check=False)
    if done.returncode:
        raise UsageError(f"{name}: its run ended with status {done.returncode}, see above")
    before, now = (values["test"]["accuracy"] for values in (record, read(folder)))
    print(f"{name}: {100 * now:.2f} %, on record {100 * before:.2f} %", flush=True)
    return abs(now - before) <= (CLOSE if flags.do == "train" else 1e-3)


def read(folder: Path) -> dict[str, Any]:
    """A run's result."""
    return json.loads((folder / RESULT).read_text())


if __name__ == "__main__":
    main()
