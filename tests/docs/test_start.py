"""The documentation's first chapter does what it says: its commands, in their order."""

from __future__ import annotations

import csv
import json
import re
import runpy
import shlex
import sys
from pathlib import Path

import pytest
from sklearn import datasets

PROJECT = Path(__file__).resolve().parents[2]
PAGE = (PROJECT / "docs" / "start.md").read_text()
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.DOTALL | re.MULTILINE)
QUICK = ("train.epochs=1", "train.max_batches=2", "net.no_hidden=4", "kernel.no_hidden=8")
FEW = 300  # images, where the test is to be quick
ALWAYS = ("debug=True", "device=cpu")


def type_all(monkeypatch: pytest.MonkeyPatch, capsys, more: tuple[str, ...]) -> dict[str, str]:
    """Write the page's scripts, run its commands in this process; what each printed."""
    printed = {}
    Path("mine").mkdir()
    for kind, text in BLOCK.findall(PAGE):
        if kind == "python":
            name, _, script = text.partition("\n")
            Path(name.removeprefix("# ")).write_text(script)
        for command in text.splitlines() if kind == "bash" else ():
            program, *given = shlex.split(command)[1:]
            if program == "-m":
                program, *given = given
            elif program.startswith("run_"):
                given += ALWAYS + (() if "train.do=False" in given else more)
            monkeypatch.setattr(sys, "argv", [program, *given])
            path = Path(program) if program.startswith("mine/") else PROJECT / program
            try:
                if path.suffix == ".py":
                    runpy.run_path(str(path), run_name="__main__")
                else:
                    runpy.run_module(program, run_name="__main__")
            except SystemExit as end:
                assert not end.code, f"{command}: {capsys.readouterr().err}"
            printed[command] = capsys.readouterr().out
    return printed


def accuracy(run: str) -> float:
    return json.loads(Path("mine", run, "result.json").read_text())["test"]["accuracy"]


def check(printed: dict[str, str], images: int) -> None:
    """What holds of the page's commands, whatever the networks have learned from the images."""
    with open("mine/images.csv") as file:
        rows = list(csv.DictReader(file))
    right = sum(Path(row["input"]).parent.name == row["class"] for row in rows)
    assert right / len(rows) == pytest.approx(accuracy("images")) == accuracy("again")
    assert len(rows) == -(-images // 5)
    last = [text.splitlines()[-1] for text in printed.values() if text.startswith("it is a")]
    assert len(last) == 2 and last[0] == last[1]  # by PyTorch and by ONNX Runtime
    compared = next(text for command, text in printed.items() if "compare" in command)
    assert re.search(r"^kernel\.type +MAGNet +SIREN$", compared, re.MULTILINE)
    assert Path("mine/compare.png").stat().st_size and Path("mine/images.html").stat().st_size
    exported = next(text for command, text in printed.items() if "export.py" in command)
    assert "x (batch, 1, 8, 8) -> logits" in exported and "on 12 random samples" in exported


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for package in ("pandas", "onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(package)
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("sketched")
def test_every_command_runs(monkeypatch, capsys):
    digits = datasets.load_digits()
    digits.images, digits.target = digits.images[:FEW], digits.target[:FEW]
    monkeypatch.setattr(datasets, "load_digits", lambda: digits)
    check(type_all(monkeypatch, capsys, QUICK), FEW)


@pytest.mark.slow
def test_every_command_gives_what_the_page_says(monkeypatch, capsys):
    printed = type_all(monkeypatch, capsys, ())
    check(printed, 1797)
    assert "it is a 3\n" in printed.values()
    said = float(re.search(r"test accuracy +([\d.]+) %", PAGE)[1])
    assert 100 * accuracy("images") == pytest.approx(said, abs=1.5)
    assert accuracy("waves") == accuracy("pulses") == 1
