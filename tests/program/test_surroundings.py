"""Programs where there is no terminal, no memory, or an odd environment."""

from __future__ import annotations

import getpass
import os
import subprocess
import sys
from pathlib import Path

import programs
import pytest
import torch
from hydra.core.override_parser.overrides_parser import OverridesParser
from small_runs import SMALL_NETWORK

from ckconv.errors import UsageError
from program import distributed
from program.surroundings import name_user
from program.words.mistakes import as_typed, sentence

ROOT = Path(__file__).resolve().parents[2]
SHORT = [*SMALL_NETWORK, "conv.horizon=9", "train.epochs=1", "train.max_batches=1"]


def shell(folder, redirect, **environment):
    """A short run in a shell, with its streams redirected."""
    flags = " ".join(f"'{flag}'" for flag in [*SHORT, f"hydra.run.dir={folder}"])
    return subprocess.run(
        ["bash", "-c", f"{sys.executable} run_experiment.py {flags} {redirect}"],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        timeout=300,
    )


@pytest.mark.parametrize("redirect", ["<&- >&- 2>&-"])
def test_a_run_without_streams_ends_well(tmp_path, redirect):
    assert shell(tmp_path / "run", redirect).returncode == 0
    assert (tmp_path / "run" / "result.json").exists()
    for path in (tmp_path / "run").iterdir():  # nothing was printed into a file of the run
        assert b"validation loss" not in path.read_bytes()


def test_a_console_that_knows_ascii_alone_gets_the_table(tmp_path):
    done = shell(tmp_path / "run", "", PYTHONIOENCODING="ascii", MPLBACKEND="x")
    assert done.returncode == 0, done.stderr
    assert b"kernel of stem" in done.stdout and b"?" in done.stdout


def test_a_full_standard_output_is_called_that(tmp_path):
    done = shell(tmp_path / "run", "> /dev/full")
    assert done.returncode == 1
    assert done.stderr == (
        b"error: the standard output cannot be written to: no space left on the device\n"
    )


@pytest.mark.parametrize(
    "variables",
    [
        {"LOCAL_RANK": "x"},
        {"RANK": "x", "WORLD_SIZE": "2"},
        {"LOCAL_WORLD_SIZE": "-1"},
        {"RANK": "5", "WORLD_SIZE": "2", "MASTER_ADDR": "localhost", "MASTER_PORT": "29999"},
    ],
)
def test_a_launchers_variable_that_no_launcher_sets_so_is_named(tmp_path, variables):
    flags = [*SHORT, f"hydra.run.dir={tmp_path / 'run'}"]
    done = programs.run("run_experiment.py", *flags, env={**os.environ, **variables})
    assert done.returncode == 1 and done.stderr.count("\n") == 1
    assert f"{next(iter(variables))}=" in done.stderr


def test_a_host_that_nobody_knows_is_named_soon(monkeypatch):
    """PyTorch alone looks for it for ten minutes, and says nothing."""
    known = {"RANK": "0", "WORLD_SIZE": "1", "MASTER_PORT": "29999", "MASTER_ADDR": "no.invalid"}
    for name, value in known.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(distributed, "NAME_PATIENCE", 0.0)
    with pytest.raises(UsageError, match=r"^MASTER_ADDR=no\.invalid: no machine of this name"):
        distributed.setup()


def test_a_user_without_a_name_gets_one(monkeypatch):
    """Which PyTorch's optimizers and W&B ask for."""

    def unknown(number):
        raise KeyError(f"uid not found: {number}")

    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.setenv(name, "")  # is put back afterwards
    monkeypatch.setattr("pwd.getpwuid", unknown)
    name_user()
    assert getpass.getuser() == f"user-{os.getuid()}"


def test_memory_that_is_used_up_is_said_with_its_size():
    with pytest.raises(RuntimeError) as caught:
        torch.empty(1 << 50, dtype=torch.float64)
    said = sentence(caught.value)
    assert "does not fit into memory" in said and "train.batch_size" in said
    numpys = MemoryError("Unable to allocate 5.00 GiB for an array with shape (10,)")
    assert "5.00 GiB" in sentence(numpys)
    assert "memory is used up; lower" in sentence(MemoryError())
    assert sentence(RuntimeError("a fault of ours")) is None


@pytest.mark.parametrize("folder", ["outputs/a-1", "my runs/a", "a=1,b", "it's [here]", "$HOME/x"])
def test_hints_can_be_typed_as_they_are(folder):
    """In a shell, and then for Hydra."""
    command = ["bash", "-c", f"printf %s {as_typed('train.resume', folder)}"]
    word = subprocess.run(command, capture_output=True, text=True).stdout
    assert OverridesParser.create().parse_override(word).value() == folder
