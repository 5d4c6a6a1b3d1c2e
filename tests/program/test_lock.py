"""Two runs never write to one folder."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from small_runs import SMALL_NETWORK

import run_experiment
from program import lock
from program.files import complete, write
from program.lock import own_folder

pytestmark = pytest.mark.usefixtures("sketched")

ROOT = Path(__file__).resolve().parents[2]
HOLDER = """
import sys, time
from pathlib import Path
from program.lock import own_folder
with own_folder(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(100)
"""


@pytest.fixture
def holder(tmp_path):
    """A process that holds the folder `tmp_path`."""
    command = [sys.executable, "-c", HOLDER, str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_a_second_process_gets_a_sentence_and_changes_nothing(
    tmp_path, holder, monkeypatch, capsys
):
    monkeypatch.setattr(lock, "PATIENCE", 0.1)
    (tmp_path / "config.yaml").write_text("a: 1\n")
    (tmp_path / "failure.txt").write_text("of the first\n")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    flags = [*SMALL_NETWORK, f"hydra.run.dir={tmp_path}", "train.resume=auto"]
    monkeypatch.setattr(sys, "argv", ["run_experiment.py", *flags])
    with pytest.raises(SystemExit) as end:
        run_experiment.main()
    assert end.value.code == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "another process is at work in this folder" in error
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_the_lock_of_a_dead_process_is_taken_over(tmp_path, holder):
    holder.kill()
    started = time.monotonic()
    with own_folder(tmp_path):
        assert time.monotonic() - started < lock.PATIENCE
    with own_folder(tmp_path):  # and of one that left
        pass


def test_what_a_killed_process_left_half_written_is_removed(tmp_path):
    kept = ("last.pt", "notes.part", ".hidden")
    left = (".last.17.part.pt", ".metrics.17-0a1b2c3d.part.csv", ".x.1-2.part")
    (tmp_path / "fine_tuning").mkdir()
    for name in (*kept, *left):
        (tmp_path / name).write_text(name)
        (tmp_path / "fine_tuning" / name).write_text(name)
    with own_folder(tmp_path):
        pass
    assert {p.name for p in tmp_path.iterdir()} == {*kept, "fine_tuning", lock.LOCK}
    assert {p.name for p in (tmp_path / "fine_tuning").iterdir()} == set(kept)


def test_two_writers_of_one_file_do_not_tear_it(tmp_path):
    """Each has a temporary file of its own, also where both are process 1 of a container."""
    path = tmp_path / "last.pt"
    with complete(path) as first:
        first.write_bytes(b"first" * 1000)
        write(path, b"second")
        assert path.read_bytes() == b"second"
    assert path.read_bytes() == b"first" * 1000


def test_a_folder_that_cannot_be_written_to_is_named(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"), own_folder(tmp_path / "file"):
        pass
