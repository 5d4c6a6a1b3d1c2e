"""A small training of real images beside those that experiments/reference.csv keeps."""

from __future__ import annotations

import csv
import os
import sys
from pathlib import Path

import pytest

import run_experiment
from experiments.tables import FOLDER


def losses(path: Path, **of: str) -> list[float]:
    """The training losses, epoch by epoch, of the rows that say so."""
    with open(path, newline="") as file:
        rows = [row for row in csv.DictReader(file) if of.items() <= row.items()]
    return [float(row["train_loss"]) for row in rows]


@pytest.mark.slow
@pytest.mark.real_data
def test_the_losses_of_a_small_training_lie_within_the_band_of_five_seeds(tmp_path, monkeypatch):
    """Each epoch's band is widened by half its width, as other machines round otherwise."""
    root = os.environ["FLEXCONV_DATA"]
    if not any(Path(root).glob("cifar-10-batches-*")):
        pytest.skip("needs CIFAR-10 under FLEXCONV_DATA")
    flags = ["+experiment=cifar10_reference", "seed=0", f"dataset_params.root={root}"]
    place = ["debug=True", "device=cpu", f"hydra.run.dir={tmp_path}"]
    monkeypatch.setattr(sys, "argv", ["run_experiment.py", *flags, *place])
    run_experiment.main()
    band = [losses(FOLDER / "reference.csv", seed=str(seed)) for seed in range(5)]
    trained = losses(tmp_path / "metrics.csv")
    assert len(trained) == 4
    for epoch, (loss, *others) in enumerate(zip(trained, *band, strict=True), 1):
        margin = (max(others) - min(others)) / 2
        assert min(others) - margin <= loss <= max(others) + margin, f"epoch {epoch}"
