"""What a trained network makes of new files."""

from __future__ import annotations

import cfg  # noqa: F401  # before torch, for how its threads wait

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from ckconv.errors import UsageError, check_choice
from program.device import choose_device
from program.files import write_csv
from program.words.plain import flag, plain_program
from training.prediction.deployed import load
from training.prediction.inputs import files_of
from training.prediction.table import predictions


@dataclass
class Predict:
    checkpoint: str = flag("", "a run's folder or checkpoint, a saved network, a name as digits")
    input: str = flag("", "images, .npz, .csv, .parquet, .ts, .wav: a file, folder, 'pattern' or -")
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
    trained = load(flags.checkpoint, choose_device(flags.device))
    rows = list(predictions(files_of(flags.input), trained, flags.batch_size))
    write_csv(Path(flags.output), rows)
    counts = Counter(row["class"] for row in rows if "class" in row)
    most = ", ".join(f"{name} {count:,}" for name, count in counts.most_common(5))
    print(f"{flags.output}: {len(rows):,} predictions{': ' + most if most else ''}")


if __name__ == "__main__":
    main()
