"""How the default flags do on small data: `python -m experiments.defaults`, against 3 to 7 taps."""

from __future__ import annotations

from cfg.schema import Config

import argparse
import csv
import statistics
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from itertools import product
from os import devnull
from pathlib import Path

import torch
from torch import Tensor, nn

from ckconv.errors import UsageError
from datasets.base import DEFAULT_ROOT, Split
from datasets.batches.loader import TensorLoader
from datasets.mnist import MNIST
from datasets.task import Loaders, Task
from models import build_model
from program import device
from program.command_line import compose
from training.evaluation import evaluate
from training.loop import fit
from training.report.epochs import EpochLog

RESULTS = Path(__file__).with_name("defaults.csv")
TESTED = 300  # samples, beside those trained on
WAYS: dict[str, tuple[str, ...]] = {
    "3 taps": ("conv.type=Conv", "conv.horizon=3"),
    "5 taps": ("conv.type=Conv", "conv.horizon=5"),
    "7 taps": ("conv.type=Conv", "conv.horizon=7"),
    "default flags": (),
}


@dataclass(frozen=True)
class SmallData:
    """A data set of few samples: its images resized to `size`, or read as sequences."""

    name: str
    samples: int
    classes: int
    size: tuple[int, ...]
    read: Callable[[Path], tuple[Tensor, Tensor]]

    def task(self) -> Task:
        return Task(self.name, 1, self.classes, self.size, self.samples)

    def split(self, root: Path) -> tuple[Split, Split]:
        """The samples to train on and those to test on."""
        images, labels = self.read(root)  # (N, 1, H, W), (N,)
        chosen = (labels < self.classes).nonzero().flatten()[: self.samples + TESTED]
        inputs, targets = images[chosen], labels[chosen]
        if len(self.size) == 1:
            inputs = inputs.flatten(2)
        elif inputs.shape[2:] != self.size:
            inputs = nn.functional.interpolate(inputs, self.size, mode="bilinear", antialias=True)
        trained = inputs[: self.samples]
        inputs = (inputs - trained.mean()) / trained.std()
        parts = slice(0, self.samples), slice(self.samples, None)
        train, test = (Split(inputs[part], targets[part]) for part in parts)
        return train, test


def digits(root: Path) -> tuple[Tensor, Tensor]:
    """The digits of 8 x 8 pixels that come with scikit-learn."""
    from sklearn.datasets import load_digits

    found = load_digits()
    return torch.tensor(found.images[:, None]).float(), torch.tensor(found.target)


def mnist(root: Path) -> tuple[Tensor, Tensor]:
    """The first of MNIST's training images."""
    raw = MNIST().read(root)
    return torch.tensor(raw.train[:2000]).float(), torch.tensor(raw.train_labels[:2000]).long()


DATA = (
    SmallData("digits, 8 × 8", 300, 10, (8, 8), digits),
    SmallData("MNIST, 5 classes, 28 × 28", 200, 5, (28, 28), mnist),
    SmallData("MNIST, 21 × 13", 200, 10, (21, 13), mnist),
    SmallData("MNIST, 3 classes, 64 × 64", 64, 3, (64, 64), mnist),
    SmallData("digits, 64 steps", 300, 10, (64,), digits),
    SmallData("MNIST, 3 classes, 784 steps", 100, 3, (784,), mnist),
)


def accuracy(data: SmallData, flags: Sequence[str], seed: int, root: Path) -> float:
    """The test accuracy, in percent, after a training with these flags."""
    cfg: Config = compose([*flags, f"seed={seed}", "device=cpu", "debug=True"])
    task, (train, test) = data.task(), data.split(root)
    device.seed_everything(seed, deterministic=False)
    model = build_model(cfg, task)
    loaders = Loaders(*(_loader(split, split is train, cfg) for split in (train, train, test)))
    loaders.validation = None  # too few samples to hold some out: the last epoch is tested
    with tempfile.TemporaryDirectory() as folder, open(devnull, "w") as silent:
        with redirect_stdout(silent):
            log = EpochLog(Path(folder), _NoLog(), cfg.train.epochs)
            fit(model, loaders, task, cfg, Path(folder), log)
        return 100 * evaluate(model, loaders.test, task)["accuracy"]


def _loader(split: Split, train: bool, cfg: Config) -> TensorLoader:
    settings = {"batch_size": cfg.train.batch_size, "seed": cfg.seed}
    return TensorLoader(split.inputs, split.targets, split.pipeline, train=train, **settings)


class _NoLog:
    run_id = None

    def log(self, values: dict, step: int) -> None:
        """Nothing is kept."""


Results = dict[tuple[str, str], list[float]]  # accuracies over seeds, by data set and way


def read(path: Path) -> list[list[str]]:
    """The rows (data set, way, seed, accuracy) of a file that need not be there."""
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return list(csv.reader(file))


def table(rows: Sequence[Sequence[str]]) -> str:
    """Means and standard deviations over seeds, in Markdown."""
    results: Results = {}
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


def main(arguments: Sequence[str] | None = None) -> int:
    """Train what the file of results lacks, a row at a time, and print the table."""
    parser = argparse.ArgumentParser(prog="python -m experiments.defaults", description=__doc__)
    parser.add_argument("--root", type=Path, default=DEFAULT_ROOT, help="where MNIST lies")
    parser.add_argument("--seeds", type=int, default=3, help="how many seeds, from 0")
    parser.add_argument("--out", type=Path, default=RESULTS, help="a CSV file, continued")
    parser.add_argument("--data", type=int, nargs="*", help="numbers of the data sets, from 0")
    options = parser.parse_args(arguments)
    chosen = DATA if options.data is None else [DATA[n] for n in options.data]
    done = {tuple(row[:3]) for row in read(options.out)}
    try:
        for seed, data, (way, flags) in product(range(options.seeds), chosen, WAYS.items()):
            if (data.name, way, str(seed)) not in done:
                found = accuracy(data, flags, seed, options.root)
                with options.out.open("a", newline="") as file:
                    csv.writer(file).writerow((data.name, way, seed, f"{found:.2f}"))
    except (UsageError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(table(read(options.out)), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
