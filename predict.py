"""What a trained network makes of new files."""

from __future__ import annotations

from cfg.schema import Config

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

import ckconv
from ckconv.errors import UsageError, check_choice
from ckconv.trained import from_plain
from datasets import Task
from models import build_model
from program.device import choose_device
from program.files import write_csv
from program.words.plain import flag, plain_program
from training.prediction.inputs import files_of
from training.prediction.table import predictions


@dataclass
class Predict:
    checkpoint: str = flag("", "a run's folder, a checkpoint file of a run, or a saved network")
    input: str = flag("", "images, .npz, .csv, .parquet, .ts, .wav: a file, folder or 'pattern'")
    output: str = flag("predictions.csv", "the table of classes and their probabilities")
    batch_size: int = flag(256, "samples that go through the network at once")
    device: str = flag("auto", "auto, cuda, cpu")


@plain_program(Predict)
def main(flags: Predict) -> None:
    """Write what a trained network makes of new files into a table."""
    if not flags.checkpoint:
        raise UsageError("checkpoint: give a run's folder or a checkpoint, as checkpoint=best.pt")
    check_choice("device", flags.device, ("auto", "cuda", "cpu"))
    if flags.batch_size < 1:
        raise UsageError(f"batch_size={flags.batch_size}: give a number of at least 1")
    trained = ckconv.load(flags.checkpoint, choose_device(flags.device), make_network)
    rows = list(predictions(files_of(flags.input), trained, flags.batch_size))
    write_csv(Path(flags.output), rows)
    counts = Counter(row["class"] for row in rows if "class" in row)
    most = ", ".join(f"{name} {count:,}" for name, count in counts.most_common(5))
    print(f"{flags.output}: {len(rows):,} predictions{': ' + most if most else ''}")


def make_network(config: Mapping[str, Any], task: Mapping[str, Any]) -> nn.Module:
    """The network of a run, a baseline's too."""
    return build_model(from_plain(Config, config), from_plain(Task, task))


if __name__ == "__main__":
    main()
