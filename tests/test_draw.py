"""`draw.py`: the pictures of a finished run, drawn again."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from small_runs import SMALL_NETWORK

ROOT = Path(__file__).resolve().parent.parent


def command(program: str, *flags: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, program, *flags], cwd=ROOT, capture_output=True, text=True
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("run") / "run"
    short = ("train.epochs=1", "train.max_batches=2", "conv.horizon=5", f"hydra.run.dir={folder}")
    done = command("run_experiment.py", *SMALL_NETWORK, *short)
    assert done.returncode == 0, done.stderr
    return folder


def test_pictures_for_a_paper(folder, tmp_path):
    kernels, spectra = tmp_path / "k.pdf", tmp_path / "s.svg"
    done = command("draw.py", f"checkpoint={folder}", f"kernels={kernels}", f"spectra={spectra}")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == f"drew {kernels} and {spectra}"
    assert kernels.read_bytes().startswith(b"%PDF") and "<svg" in spectra.read_text()


@pytest.mark.parametrize(
    "flags, words",
    [
        ((), "checkpoint: give a run's folder or a checkpoint"),
        (("checkpoint={folder}", "kernels={folder}/k.bmp"), "k.bmp"),
    ],
    ids=["no checkpoint", "no such kind of picture"],
)
def test_a_mistake_is_one_sentence(folder, flags, words):
    done = command("draw.py", *(text.format(folder=folder) for text in flags))
    assert done.returncode == 1
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1
    assert words in done.stderr
