"""PhysioNet 2019 from small `.psv` files in the published layout."""

from __future__ import annotations

import json
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

import run_experiment
from ckconv.errors import UsageError
from datasets import build_loaders, describe, physionet
from datasets.files.download import Remote
from datasets.physionet import read_stay

pytestmark = pytest.mark.usefixtures("sketched")

HEADER = "|".join([f"value{i}" for i in range(34)])
HEADER += "|Age|Gender|Unit1|Unit2|HospAdmTime|ICULOS|SepsisLabel\n"


def stay_text(hours, facts=(60, 1, 0, 1, -3), values=None, sepsis=None) -> str:
    """A file: `values[i]` are the first measurements of the i-th hour, the others are missing."""
    lines = [HEADER]
    for i, hour in enumerate(hours):
        first = list(values[i]) if values else []
        cells = [*first, *["NaN"] * (34 - len(first)), *facts, hour, int(sepsis == hour)]
        lines.append("|".join(str(cell) for cell in cells) + "\n")
    return "".join(lines)


def write_stays(folder: Path, count: int = 60) -> None:
    folder.mkdir(parents=True)
    random = np.random.RandomState(0)
    for i in range(count):
        hours = range(1, 6 + i % 7)
        values = [random.randn(2).round(3) for _ in hours]
        text = stay_text(
            hours, (50 + i, i % 2, "NaN", "NaN", -i), values, 4 if i % 3 == 0 else None
        )
        (folder / f"p{i:06d}.psv").write_text(text)


@pytest.fixture
def root(tmp_path):
    return tmp_path / "data" / "PhysioNet2019"


def test_a_stay_is_laid_out_by_the_hour(tmp_path):
    path = tmp_path / "p000001.psv"
    path.write_text(stay_text([2, 3, 5, 73], values=[[1], [2], [3], [4]], sepsis=73))
    hourly, facts, sepsis = read_stay(path)
    assert hourly.shape == (72, 34)
    assert np.isnan(hourly[[0, 3, *range(5, 72)]]).all() and np.isnan(hourly[:, 1:]).all()
    assert hourly[[1, 2, 4], 0].tolist() == [1, 2, 3]
    assert facts.tolist() == [60, 1, 0, 1, -3]
    assert not sepsis  # it came after the hours that are kept
    path.write_text(stay_text([1, 2, 3], sepsis=2))
    assert read_stay(path)[2]
    path.write_text(stay_text([1, 2], sepsis=2))
    assert read_stay(path) is None


@pytest.mark.parametrize("text", ["", HEADER, HEADER + "1|2|3\n", HEADER + "a|" * 40 + "a\n"])
def test_another_file_is_refused_by_its_name(tmp_path, text):
    (tmp_path / "p7.psv").write_text(text)
    with pytest.raises(UsageError, match=r"p7\.psv: not hours of 41 numbers"):
        read_stay(tmp_path / "p7.psv")


def test_channels_are_counts_values_facts_and_flags(make_cfg, root, capsys):
    write_stays(root / "training")
    cfg = make_cfg("PhysioNet")
    task, loaders = build_loaders(cfg)
    assert (task.loss, task.metric, task.out_channels, task.size) == ("binary", "auc", 1, (72,))
    assert task.in_channels == describe(cfg).in_channels == 75 and task.train_samples == 42
    assert "60 stays of 40,336" in capsys.readouterr().err
    x = loaders.train.inputs
    assert x.shape == (42, 75, 72)
    hours = (x[:, 0].diff(dim=1) > 0).sum(1) + 1
    assert set(hours.tolist()) <= set(range(5, 12))
    for stay, n in zip(x, hours.tolist()):
        assert stay[0, :n].tolist() == list(range(1, n + 1))  # measured every hour, then no more
        assert (stay[0, n:] == n).all() and (stay[2:34] == 0).all()
        assert (stay[34:36, n:] == 0).all() and (stay[36:68] == 0).all()
        assert (stay[68:73] == stay[68:73, :1]).all() and (stay[73:] == 0).all()
    measured = [stay[34, :n] for stay, n in zip(x, hours.tolist())]
    values = np.concatenate([part.numpy() for part in measured])
    assert abs(values.mean()) < 1e-5 and abs(values.std() - 1) < 1e-2
    assert abs(x[:, 68, 0].mean()) < 1e-5 and abs(x[:, 68, 0].std() - 1) < 1e-3
    assert set(loaders.train.targets.flatten().tolist()) == {0.0, 1.0}
    assert loaders.train.targets.mean() == pytest.approx(1 / 3)  # stratified


def test_both_archives_are_unpacked(make_cfg, root, tmp_path, monkeypatch):
    remotes = []
    for name, folder in (("training_setA", "training"), ("training_setB", "training_setB")):
        write_stays(tmp_path / folder, 30)
        with zipfile.ZipFile(tmp_path / f"{name}.zip", "w") as archive:
            for path in (tmp_path / folder).iterdir():
                archive.write(path, f"{folder}/{path.name}")
        remotes.append(Remote(f"{name}.zip", ((tmp_path / f"{name}.zip").as_uri(),)))
    monkeypatch.setattr(physionet, "ARCHIVES", tuple(remotes))
    _, loaders = build_loaders(make_cfg("PhysioNet"))
    assert loaders.train.num_samples + loaders.validation.num_samples == 51
    assert {path.name for path in root.iterdir()} == {"training", "training_setB"}


def test_a_folder_without_stays_is_refused(make_cfg, root):
    root.mkdir(parents=True)
    with pytest.raises(UsageError, match="holds no stays"):
        build_loaders(make_cfg("PhysioNet"))


def test_the_program_trains_and_is_judged_by_the_area(root, tmp_path, monkeypatch, capsys):
    write_stays(root / "training")
    small = ["net.no_hidden=4", "kernel.no_hidden=8", "train.epochs=2", "train.batch_size=16"]
    place = [f"dataset_params.root={root.parent}", f"hydra.run.dir={tmp_path / 'run'}"]
    flags = ["+experiment=physionet_ckcnn30", *small, *place, "debug=True", "device=cpu"]
    monkeypatch.setattr(sys, "argv", ["run_experiment.py", *flags])
    run_experiment.main()
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert result["metric"] == "auc" and 0 <= result["test"]["auc"] <= 1
    assert result["test"]["targets"] == 9 and result["best_result"] is not None
    assert "test auc" in capsys.readouterr().out
