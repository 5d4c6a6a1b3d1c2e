"""The trials in part; `kills.py` and `bad_inputs.py`, run by themselves, make them whole."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent


def trial(*command: str) -> subprocess.CompletedProcess:
    """Run in a process of its own: it forks, and what this one has loaded would come along."""
    return subprocess.run(
        [sys.executable, *command], cwd=HERE, capture_output=True, text=True, timeout=3000
    )


@pytest.mark.slow
def test_killed_runs_end_as_if_nobody_had_killed_them():
    done = trial("kills.py", "--every", "7")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["flag", "file", "folder", "environment"])
def test_no_bad_input_is_answered_by_a_stack(kind):
    done = trial("bad_inputs.py", "--kind", kind, "--every", "5")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
