"""How the default flags do on small data: `python -m experiments.defaults`, against 3 to 7 taps.

Every run is what `python run_experiment.py dataset=Arrays ...` gives, with the flags of its way.
"""

from __future__ import annotations

import argparse
import csv
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from ckconv.errors import UsageError
from datasets.base import DEFAULT_ROOT
from datasets.mnist import MNIST
from program.folder import RESULT
from program.progress import say, shown

PROGRAM = Path(__file__).resolve().parent.parent / "run_experiment.py"
RESULTS = Path(__file__).with_name("defaults.csv")
TESTED = 1000  # samples, beside those trained on
WAYS: dict[str, tuple[str, ...]] = {
    "3 taps": ("conv.type=Conv", "conv.horizon=3"),
    "5 taps": ("conv.type=Conv", "conv.horizon=5"),
    "7 taps": ("conv.type=Conv", "conv.horizon=7"),
    "default flags": (),
}
TCN = ("net.type=FlexTCN",)
Samples = tuple[NDArray, NDArray]  # images (N, 1, H, W) and their labels (N,)


@dataclass(frozen=True)
class SmallData:
    """A data set of few samples: its images resized to `size`, or read as sequences."""

    name: str
    samples: int
    classes: int
    size: tuple[int, ...]
    read: Callable[[Path], Samples]
    flags: tuple[str, ...] = ()  # of all its trainings

    def write(self, root: Path, path: Path) -> None:
        """The samples to train on and those to test on, as `dataset=Arrays` reads them."""
        images, labels = self.read(root)
        chosen = np.flatnonzero(labels < self.classes)[: self.samples + TESTED]
        x, y = torch.from_numpy(images[chosen]).float(), labels[chosen]
        if len(self.size) == 1:
            x = x.flatten(2)
        elif x.shape[2:] != self.size:
            x = nn.functional.interpolate(x, self.size, mode="bilinear", antialias=True)
        train, test = slice(0, self.samples), slice(self.samples, None)
        np.savez(path, x=x[train], y=y[train], x_test=x[test], y_test=y[test])


def digits(root: Path) -> Samples:
    """The digits of 8 x 8 pixels that come with scikit-learn."""
    from sklearn.datasets import load_digits

    found = load_digits()
    return found.images[:, None], found.target


def mnist(root: Path) -> Samples:
    """The first of MNIST's training images."""
    raw = MNIST().read(root)
    return raw.train[:4000], raw.train_labels[:4000].astype(int)


DATA = (
    SmallData("digits, 8 × 8", 300, 10, (8, 8), digits),
    SmallData("MNIST, 21 × 13", 200, 10, (21, 13), mnist),
    SmallData("MNIST, 5 classes, 28 × 28", 200, 5, (28, 28), mnist),
    SmallData("MNIST, 5 classes, 64 × 64", 200, 5, (64, 64), mnist),
    SmallData("digits, 64 steps", 300, 10, (64,), digits),
    SmallData("digits, 64 steps, FlexTCN", 300, 10, (64,), digits, TCN),
    SmallData("MNIST, 5 classes, 784 steps", 200, 5, (784,), mnist),
    SmallData("MNIST, 5 classes, 784 steps, FlexTCN", 200, 5, (784,), mnist, TCN),
)


def accuracy(data: SmallData, flags: Sequence[str], seed: int, root: Path) -> float:
    """The test accuracy, in percent, of a run of `run_experiment.py`."""
    with tempfile.TemporaryDirectory() as scratch:
        file, folder = Path(scratch, "samples.npz"), Path(scratch, "run")
        data.write(root, file)
        own = ["dataset=Arrays", f"dataset_params.root={file}", f"hydra.run.dir={folder}"]
        typed = [*own, *data.flags, *flags, f"seed={seed}", "device=cpu", "debug=True"]
        command = [sys.executable, str(PROGRAM), *typed]
        if subprocess.run(command, stdout=subprocess.DEVNULL).returncode:
            sys.exit(1)  # the program has said why
        return 100 * json.loads((folder / RESULT).read_text())["test"]["accuracy"]


def read(path: Path) -> list[list[str]]:
    """The rows (data set, way, seed, accuracy) of a file that need not be there."""
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return list(csv.reader(file))


def table(rows: Sequence[Sequence[str]]) -> str:
    """Means and standard deviations over seeds, in Markdown."""
    results: dict[tuple[str, str], list[float]] = {}
    for data, way, _, found in rows:
        results.setdefault((data, way), []).append(float(found))
    lines = ["| data | " + " | ".join(WAYS) + " |", "| --- " * (len(WAYS) + 1) + "|"]
    for data in DATA:
        cells = [_cell(results.get((data.name, way), [])) for way in WAYS]
        lines.append(f"| {data.name}, {data.samples} samples | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _cell(found: Sequence[float]) -> str:
    if len(found) < 2:
        return "".join(f"{one:.1f} (1 seed)" for one in found)
    return f"{statistics.mean(found):.1f} ± {statistics.stdev(found):.1f}"


def parser() -> argparse.ArgumentParser:
    """What can be typed."""
    parser = argparse.ArgumentParser(prog="python -m experiments.defaults", description=__doc__)
    parser.add_argument("--root", type=Path, default=DEFAULT_ROOT, help="where MNIST lies")
    parser.add_argument("--seeds", type=int, default=3, help="how many seeds, from 0")
    parser.add_argument("--out", type=Path, default=RESULTS, help="a CSV file, continued")
    parser.add_argument("--data", type=int, nargs="*", help="numbers of the data sets, from 0")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Train what the file of results lacks, a row at a time, and print the table."""
    options = parser().parse_args(arguments)
    chosen = DATA if options.data is None else [DATA[n] for n in options.data]
    done = {tuple(row[:3]) for row in read(options.out)}
    wanted = list(product(range(options.seeds), chosen, WAYS))
    missing = [run for run in wanted if (run[1].name, run[2], str(run[0])) not in done]
    there = len(wanted) - len(missing)
    say(f"{len(missing)} of {len(wanted)} trainings are missing; each goes to {options.out}")
    try:
        for seed, data, way in shown(missing, "trainings", len(wanted), there):
            found = accuracy(data, WAYS[way], seed, options.root)
            with options.out.open("a", newline="") as file:
                csv.writer(file).writerow((data.name, way, seed, f"{found:.2f}"))
            say(f"{data.name}, {way}, seed {seed}: {found:.1f} %")
    except (UsageError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(table(read(options.out)), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
