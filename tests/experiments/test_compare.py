"""Runs side by side: where they differ, what they gave, their curves."""

from __future__ import annotations

from cfg.flags import plain
from cfg.schema import Config

from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread
from omegaconf import OmegaConf

from experiments import compare
from program.files import write_csv


def make_run(folder: Path, epochs: int = 3, **flags: object) -> Path:
    """A run's folder, with these flags changed."""
    folder.mkdir(parents=True)
    config = OmegaConf.create(plain(Config()))
    for name, value in flags.items():
        OmegaConf.update(config, name.replace("__", "."), value)
    (folder / "config.yaml").write_text("# python run_experiment.py\n" + OmegaConf.to_yaml(config))
    rows = [
        {"epoch": n + 1, "lr": 0.1, "train_loss": 1 / (n + 1), "validation_accuracy": 0.3 * n}
        for n in range(epochs)
    ]
    write_csv(folder / "metrics.csv", rows)
    return folder


def test_two_runs(tmp_path, capsys):
    first = make_run(tmp_path / "a", kernel__type="SIREN", device="cpu", comment="x")
    second = make_run(tmp_path / "b", epochs=2, train__lr=0.5)
    picture = tmp_path / "c.png"
    assert compare.main([str(first), str(second), "--out", str(picture)]) == 0
    said = capsys.readouterr().out.splitlines()
    assert [line.split() for line in said[:1]] == [["a", "b"]]
    rows = {line.rsplit(maxsplit=2)[0].strip(): line.split()[-2:] for line in said[2:7]}
    assert rows == {
        "kernel.type": ["SIREN", "MAGNet"],
        "train.lr": ["0.01", "0.5"],
        "epochs": ["3", "2"],
        "best validation accuracy (%)": ["60", "30"],
        "last train loss": ["0.3333", "0.5"],
    }
    assert np.unique(imread(picture).reshape(-1, 4), axis=0).shape[0] > 20


def test_a_sweep_has_a_row_per_run(tmp_path, capsys, monkeypatch):
    for seed in range(5):
        make_run(tmp_path / "sweep" / str(seed), seed=seed)
    monkeypatch.chdir(tmp_path)
    assert compare.main(["sweep"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0].split()[:2] == ["seed", "epochs"]
    assert [line.split()[:2] for line in said[2:7]] == [[str(n), str(n)] for n in range(5)]
    assert (tmp_path / "compare.png").exists()


def test_names_are_as_short_as_they_can_be():
    assert compare.unique_names(["/x/a/0", "/x/b/0"]) == ["a/0", "b/0"]
    assert compare.unique_names(["/x/a/0", "/x/a/1"]) == ["0", "1"]


@pytest.mark.parametrize(
    "content, said",
    [(None, "holds no run that has ended an epoch"), ("a: [", "config.yaml: cannot be read")],
)
def test_what_is_no_run_is_said(tmp_path, capsys, content, said):
    folder = tmp_path / "run"
    if content:
        make_run(folder)
        (folder / "config.yaml").write_text(content)
    assert compare.main([str(folder)]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1 and said in error
