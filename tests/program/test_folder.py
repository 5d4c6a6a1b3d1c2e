"""A run's folder: whose it is, and that a refused command leaves none."""

from __future__ import annotations

import sys

import pytest

from program.folder import others, remove_if_empty, run_folder


@pytest.mark.parametrize(
    ("line", "made_by"),
    [
        ("python run_crossres.py cross_res.source_res=16", "run_crossres.py"),
        ("torchrun --nnodes=1 --nproc_per_node=2 /code/run_crossres.py", "run_crossres.py"),
        ("python run_experiment.py", ""),
        ("python own_program.py", ""),
    ],
)
def test_a_folder_knows_its_program(line, made_by, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["run_experiment.py"])
    (tmp_path / "config.yaml").write_text(f"# {line}\nseed: 0\n")
    (tmp_path / "fine_tuning").mkdir()
    assert others(tmp_path) == others(tmp_path / "fine_tuning") == made_by


def test_the_newest_folder_is_one_of_this_program(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["run_experiment.py"])
    for moment, program in (("1", "run_experiment.py"), ("2", "run_crossres.py")):
        (tmp_path / "day" / moment).mkdir(parents=True)
        (tmp_path / "day" / moment / "config.yaml").write_text(f"# python {program}\n")
    (tmp_path / "day" / "3").mkdir()  # of a refused command
    assert run_folder("True", str(tmp_path / "day" / "4")) == str(tmp_path / "day" / "1")


def test_only_what_is_empty_is_removed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("outputs/day/1", "outputs/day/2", "multirun/day/1/0"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "outputs/day/2/config.yaml").touch()
    (tmp_path / "multirun/day/1/multirun.yaml").touch()
    for name in ("outputs/day/1", "outputs/day/2", "multirun/day/1/0", "outputs/day/nowhere"):
        remove_if_empty(tmp_path / name)
    assert [path.name for path in (tmp_path / "outputs/day").iterdir()] == ["2"]
    assert not (tmp_path / "multirun").exists() and tmp_path.exists()
