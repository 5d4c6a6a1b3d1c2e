"""`draw.py`: the pictures of a finished run, drawn again."""

from __future__ import annotations

from pathlib import Path

import pytest
from programs import run
from small_runs import SMALL_NETWORK


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("run") / "run"
    short = ("train.epochs=1", "train.max_batches=2", "conv.horizon=5", f"hydra.run.dir={folder}")
    done = run("run_experiment.py", *SMALL_NETWORK, *short)
    assert done.returncode == 0, done.stderr
    return folder


def test_pictures_for_a_paper(folder, tmp_path):
    files = {
        "kernels": "k.pdf",
        "spectra": "s.svg",
        "receptive": "r.png",
        "curves": "c.pdf",
        "sizes": "z.svg",
    }
    flags = [f"{name}={tmp_path / file}" for name, file in files.items()]
    done = run("draw.py", f"checkpoint={folder}", *flags)
    assert done.returncode == 0, done.stderr
    *table, said = done.stdout.splitlines()
    assert said == "drew " + " and ".join(str(tmp_path / file) for file in files.values())
    assert table[1].split()[:4] == ["layer", "own", "kernel", "at"]
    assert [line.split()[0] for line in table[2:]] == ["stem", "blocks.0.conv1", "blocks.0.conv2"]
    begins = {"pdf": b"%PDF", "svg": b"<?xml", "png": b"\x89PNG"}
    for file in files.values():
        assert (tmp_path / file).read_bytes().startswith(begins[file[2:]])


@pytest.mark.parametrize(
    "flags, words",
    [
        ((), "checkpoint: give a run's folder or a checkpoint"),
        (("checkpoint={folder}", "kernels={folder}/k.bmp"), "k.bmp"),
        (("checkpoint={folder}", "kernels="), "nothing is to be drawn; name a file"),
        (
            ("checkpoint={folder}/none/best.pt", "curves=c.png"),
            "curves: is drawn from the metrics.csv",
        ),
    ],
    ids=["no checkpoint", "no such kind of picture", "no picture", "no epochs"],
)
def test_a_mistake_is_one_sentence(folder, flags, words):
    done = run("draw.py", *(text.format(folder=folder) for text in flags))
    assert done.returncode == 1
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1
    assert words in done.stderr
