"""Trained networks as files for other programs, run by what runs those."""

from __future__ import annotations

from cfg.schema import Config

import json
import sys
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from torch import nn

import ckconv
import export as program
from ckconv import KernelConfig, NetConfig, UsageError
from ckconv.models import FlexNet, FlexTCN
from ckconv.trained import Trained
from training.export.formats import FORMATS
from training.export.verified import export

TASK = {"name": "Arrays", "in_channels": 2, "out_channels": 3, "size": (16,), "per_step": False}
TASK |= {"loss": "cross_entropy", "timed": False, "class_names": ("a", "b", "c")}


def trained(network: nn.Module, **task) -> Trained:
    """A network with chance statistics, as `ckconv.load` gives one."""
    network.train()(torch.randn(8, 2, 16))
    normalisation = {"mean": torch.ones(2, 1), "std": torch.full((2, 1), 3.0), "scale": 2.0}
    return Trained(network, asdict(Config(dataset="Arrays")), TASK | task, normalisation)


def sequences(norm: str = "BatchNorm") -> Trained:
    torch.manual_seed(0)
    settings = NetConfig(no_hidden=4, no_blocks=1, norm=norm), KernelConfig(no_hidden=8)
    make = FlexTCN if norm == "BatchNorm" else lambda *a: FlexNet(*a[:2], 1, *a[2:])
    return trained(make(2, 3, *settings), padded=norm == "BatchNorm")


def needs(kind: str) -> None:
    if kind == "onnx":
        for package in ("onnx", "onnxscript", "onnxruntime"):
            pytest.importorskip(package)


@pytest.mark.parametrize(
    "kind, norm",
    [
        ("onnx", "BatchNorm"),
        ("torch-export", "LayerNorm"),
        ("torchscript", "BatchNorm"),
        ("torchscript", "LayerNorm"),
    ],
)
def test_sequences_of_any_number_and_length(tmp_path, kind, norm):
    needs(kind)
    network, path = sequences(norm), tmp_path / "model"
    written = export(network, kind, path)
    assert written.samples == 12 and written.difference < 1e-5
    assert written.size == path.stat().st_size and written.output == "logits"
    x, lengths = torch.randn(5, 2, 23), torch.tensor([23, 1, 7, 9, 11])
    inputs = (x, lengths) if network.padded else (x,)
    run = FORMATS[kind].read(path)
    torch.testing.assert_close(run(*inputs), network(*inputs), rtol=1e-4, atol=1e-5)
    if network.padded:  # what stands behind the lengths counts in nothing
        x[1, :, 1:] = 100.0
        torch.testing.assert_close(run(*inputs), network(*inputs), rtol=1e-4, atol=1e-5)
        assert written.inputs == ("x (batch, 2, length)", "lengths (batch)")


@pytest.mark.parametrize("name, shape", [("digits", (1, 8, 8)), ("sdigits", (1, 8, 8))])
def test_the_program_writes_what_comes_with_the_library(monkeypatch, tmp_path, capsys, name, shape):
    """Stored images in, also where the network reads them as sequences."""
    path = tmp_path / "model.pt"
    given = [f"checkpoint={name}", "format=torchscript", f"output={path}"]
    monkeypatch.setattr(sys, "argv", ["export.py", *given])
    program.main()
    shown = capsys.readouterr().out
    assert f"{path}: " in shown and "x (batch, 1, 8, 8) -> logits" in shown
    assert "largest difference" in shown and "on 12 random samples" in shown
    extra = {"about.json": ""}
    model = torch.jit.load(str(path), _extra_files=extra)
    assert json.loads(extra["about.json"])["class_names"] == list("0123456789")
    x = 16 * torch.rand(4, *shape)
    sees = x if name == "digits" else x.flatten(2)
    torch.testing.assert_close(model(x), ckconv.load(name)(sees), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "flags, said",
    [
        ([], "checkpoint: give a run's folder"),
        (["checkpoint=digits", "format=tflite"], "format=tflite: unknown; choose one of onnx"),
        (["checkpoint=nowhere"], "nowhere: does not exist"),
        (
            ["checkpoint=digits", "format=torchscript", "output=no/m.pt"],
            "output=no/m.pt: give the name",
        ),
    ],
)
def test_what_cannot_be_is_said(monkeypatch, tmp_path, capsys, flags, said):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["export.py", *flags])
    with pytest.raises(SystemExit) as end:
        program.main()
    assert end.value.code == 1 and said in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_written_that_computes_something_else(monkeypatch, tmp_path):
    network, path = sequences(), tmp_path / "model.pt"
    path.write_bytes(b"an earlier one")
    wrong = FORMATS["torchscript"].read

    def read(file: Path):
        run = wrong(file)
        return lambda *inputs: run(*inputs) + 1e-3

    form = type(FORMATS["torchscript"])(".pt", FORMATS["torchscript"].write, read)
    monkeypatch.setitem(FORMATS, "torchscript", form)
    with pytest.raises(UsageError, match="not written; for a batch of 3 its outputs differ"):
        export(network, "torchscript", path)
    assert path.read_bytes() == b"an earlier one" and list(tmp_path.iterdir()) == [path]


def test_networks_that_cannot_be_exported(tmp_path):
    network = sequences()
    network.task = network.task | {"timed": True}
    with pytest.raises(UsageError, match="at the samples' own times"):
        export(network, "onnx", tmp_path / "model.onnx")
    assert list(tmp_path.iterdir()) == []
