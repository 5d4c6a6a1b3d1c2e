"""A run's folder is the run's alone."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest
from small_runs import SMALL_NETWORK

import run_crossres
import run_experiment
import run_profiler

pytestmark = pytest.mark.usefixtures("sketched")

SHORT = [*SMALL_NETWORK, "conv.horizon=9", "train.epochs=1", "train.max_batches=1"]


PROGRAMS = {"run_experiment": run_experiment, "run_crossres": run_crossres}
PROGRAMS["run_profiler"] = run_profiler
RESULTS = {"run_experiment": "result.json", "run_crossres": "stages.json"}
RESULTS["run_profiler"] = "profile.json"


def run(monkeypatch, *flags: str, program: str = "run_experiment") -> int:
    monkeypatch.setattr(sys, "argv", [f"{program}.py", *flags])
    try:
        PROGRAMS[program].main()
    except SystemExit as end:
        return end.code
    return 0


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_finished_runs_folder_is_refused_and_stays(tmp_path, monkeypatch, capsys):
    folder = tmp_path / "run"
    assert run(monkeypatch, *SHORT, f"hydra.run.dir={folder}") == 0
    before = files(folder)
    for left_out in ([], ["result.json"], ["result.json", "last.pt"]):
        for name in left_out:
            (folder / name).unlink(missing_ok=True)
        capsys.readouterr()
        assert run(monkeypatch, *SHORT, f"hydra.run.dir={folder}") == 1
        error = capsys.readouterr().err
        assert error.count("\n") == 1 and "of an earlier run, which stays as it is" in error
        assert ("train.resume=" in error) == ("last.pt" not in left_out)
        kept = {name: content for name, content in before.items() if name not in left_out}
        assert files(folder) == kept


def test_a_run_that_goes_on_has_no_result_until_it_ends(tmp_path, monkeypatch):
    """A kill while it trains on leaves no mixture of the two that counts as a finished run."""
    folder = tmp_path / "run"
    assert run(monkeypatch, *SHORT, f"hydra.run.dir={folder}") == 0

    class Killed(Exception):
        pass

    def kill(self, progress):
        raise Killed

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(run_experiment.EpochLog, "epoch", kill)
        run(patch, f"train.resume={folder}", "train.epochs=2")
    assert not (folder / "result.json").exists()
    assert run(monkeypatch, f"train.resume={folder}", "train.epochs=2") == 0
    assert json.loads((folder / "result.json").read_text())["epochs"] == 2


def test_a_folder_that_is_removed_while_a_run_writes_to_it_is_named(tmp_path, monkeypatch, capsys):
    folder = tmp_path / "run"
    monkeypatch.setattr(run_experiment.EpochLog, "epoch", lambda *_: shutil.rmtree(folder))
    assert run(monkeypatch, *SHORT, "train.epochs=2", f"hydra.run.dir={folder}") == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "last.pt: no such file or folder; it may have been" in error


@pytest.mark.parametrize("flags", [["hydra.run.dir="], ["hydra.run.dir=''"]])
def test_an_empty_folder_name_is_refused(tmp_path, monkeypatch, capsys, flags):
    monkeypatch.chdir(tmp_path)
    assert run(monkeypatch, *SHORT, *flags) == 1
    assert "hydra.run.dir=: is empty" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def left_by(folder: Path, program: str) -> dict[str, bytes]:
    """What a run of a program leaves in its folder, as far as its name tells."""
    folder.mkdir()
    (folder / "config.yaml").write_text(f"# python {program}.py debug=True\ndebug: true\n")
    (folder / RESULTS[program]).write_text("{}")
    if program != "run_profiler":
        (folder / "last.pt").write_text("weights")
    return files(folder)


@pytest.mark.parametrize("way", ["train.resume={}", "train.resume=auto hydra.run.dir={}"])
@pytest.mark.parametrize("of", PROGRAMS)
@pytest.mark.parametrize("program", PROGRAMS)
def test_a_folder_knows_its_program(tmp_path, monkeypatch, capsys, program, of, way):
    """Nothing is written into the folder of another program's run, and no profile is resumed."""
    if program == of != "run_profiler":
        pytest.skip("its own, which goes on")
    folder = tmp_path / "run"
    before = left_by(folder, of)
    flags = [*SHORT, *way.format(folder).split()]
    assert run(monkeypatch, *flags, program=program) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "train.resume=" in error
    found = files(folder)
    found.pop(".lock", None)
    assert found == before


@pytest.mark.parametrize("of", PROGRAMS)
@pytest.mark.parametrize("flag", ["hydra.run.dir", "profile.directory"])
def test_a_profile_is_not_written_over_a_run(tmp_path, monkeypatch, capsys, of, flag):
    folder = tmp_path / "run"
    if (of, flag) == ("run_profiler", "profile.directory"):
        pytest.skip("it may be measured anew")
    before = left_by(folder, of)
    other = [] if flag == "hydra.run.dir" else [f"hydra.run.dir={tmp_path / 'other'}"]
    flags = [*SHORT, f"{flag}={folder}", *other]
    assert run(monkeypatch, *flags, program="run_profiler") == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "stays as it is" in error and "train.resume" not in error
    found = files(folder)
    found.pop(".lock", None)
    assert found == before
