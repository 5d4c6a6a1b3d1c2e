"""run_profiler.py as it is used: its files, its shares, and what can be typed wrong."""

from __future__ import annotations

import csv
import json
import re
import sys
from pathlib import Path

import programs
import pytest

import run_profiler
from ckconv.models import blocks
from ckconv.nn import CKConv

ROOT = Path(__file__).resolve().parent.parent
SMALL = [
    "device=cpu",
    "net.no_hidden=4",
    "net.no_blocks=1",
    "kernel.no_hidden=8",
    "train.batch_size=16",
    "profile.n_batches=2",
    "profile.warmup=1",
]
SEQUENCES = ["dataset=sDigits", "net.type=FlexTCN", "net.no_blocks=2"]
LAYERS = {
    "images": ["stem", "blocks.0.conv1", "blocks.0.conv2"],
    "sequences": [
        *("blocks.0.conv1", "blocks.0.conv2", "blocks.0.shortcut"),
        *("blocks.1.conv1", "blocks.1.conv2"),
    ],
}


def run(monkeypatch, folder: Path, *flags: str) -> int:
    """Run the program in this process; returns its exit status."""
    arguments = ["run_profiler.py", *SMALL, f"hydra.run.dir={folder}", *flags]
    monkeypatch.setattr(sys, "argv", arguments)
    try:
        run_profiler.main()
    except SystemExit as end:
        return end.code
    return 0


def rows_of(folder: Path, kind: str) -> dict[str, dict[str, str]]:
    with open(folder / "timings.csv") as file:
        return {row["name"]: row for row in csv.DictReader(file) if row["kind"] == kind}


@pytest.mark.parametrize("mode", ["train", "evaluate"])
@pytest.mark.parametrize("data", ["images", "sequences"])
def test_a_profile(tmp_path, monkeypatch, capsys, data, mode):
    flags = SEQUENCES if data == "sequences" else []
    assert run(monkeypatch, tmp_path, *flags, f"profile.mode={mode}") == 0
    result = json.loads((tmp_path / "profile.json").read_text())
    shape = [16, 1, 64] if data == "sequences" else [16, 1, 8, 8]
    assert result["data_shape"] == shape and result["mode"] == mode and result["steps"] == 2
    assert len(result["step_ms_all"]) == 2 and result["step_ms"] > 0

    shares = result["shares"]
    assert sum(shares.values()) == pytest.approx(1, abs=1e-9)
    assert list(shares) == ["generation", "masking", "convolution", "the rest"]
    if mode == "train":
        assert all(0.001 < share < 0.99 for share in shares.values())
    else:  # kernels are kept while a network is evaluated
        assert shares["generation"] == shares["masking"] == 0 and shares["convolution"] > 0.1

    layers = result["layers"]
    assert list(layers) == LAYERS[data]
    total = result["profiled_step_ms"]
    for section in ("generation", "masking", "convolution"):
        spent = sum(layer[section] for layer in layers.values())
        assert spent == pytest.approx(shares[section] * total, rel=1e-6)
    for name, layer in layers.items():
        assert layer["convolution"] > 0
        assert len(layer["kernel_size"]) == len(shape) - 2
        assert (layer["generation"] > 0) == (mode == "train" and "shortcut" not in name)

    operations = rows_of(tmp_path, "operation")
    assert sum(float(row["own_ms"]) for row in operations.values()) == pytest.approx(
        total, rel=1e-3
    )
    convolution = [row for name, row in operations.items() if "mkldnn_conv" in name]
    assert sum(int(row["calls_per_step"]) for row in convolution) <= len(layers)
    assert [row["share"] for row in rows_of(tmp_path, "step").values()] == ["1.000000"]

    events = json.loads((tmp_path / "trace.json").read_text())["traceEvents"]
    names = {event.get("name") for event in events}
    assert {f"layer/convolution/{name}" for name in layers} < names and "step" in names
    assert ("layer/generation/blocks.0.conv1" in names) == (mode == "train")
    assert sum(event.get("name") == "step" for event in events) == 1
    assert (tmp_path / "profile.png").read_bytes().startswith(b"\x89PNG")
    assert "n_batches: 2" in (tmp_path / "config.yaml").read_text()
    assert not list(tmp_path.glob("*.part*"))

    table = capsys.readouterr().out
    assert re.search(r"^this takes \d.* or longer: a profiled", table, re.MULTILINE)
    assert f"{100 * shares['convolution']:.1f} %" in table and str(tmp_path) in table
    assert f"{result['peak_bytes'] / 2**20:,.1f} MiB" in table


def test_memory_grows_with_the_batch(tmp_path, monkeypatch):
    peaks = []
    for batch in (16, 160):
        folder = tmp_path / str(batch)
        assert run(monkeypatch, folder, f"profile.data_shape=[{batch},1,16,16]") == 0
        peaks.append(json.loads((folder / "profile.json").read_text())["peak_bytes"])
    # At least the input and what each convolution and norm keeps of its own input grow.
    one_map = 144 * 4 * 16 * 16 * 4
    assert 5 * one_map < peaks[1] - peaks[0] < 50 * one_map


def test_the_batches_of_a_data_set_and_a_folder_of_ones_own(tmp_path, monkeypatch):
    own = tmp_path / "own" / "folder"
    flags = ["profile.data_mode=dataset", f"profile.directory={own}", "profile.n_batches=3"]
    assert run(monkeypatch, tmp_path / "run", *flags) == 0
    result = json.loads((own / "profile.json").read_text())
    assert result["data_shape"] == [16, 1, 8, 8] and result["data_mode"] == "dataset"
    assert not (tmp_path / "run" / "profile.json").exists()


@pytest.mark.parametrize(
    "flags",
    [
        ["dataset=AddProblem", "net.type=FlexTCN", "dataset_params.seq_length=20"],
        ["dataset=CopyMemory", "net.type=FlexTCN", "dataset_params.seq_length=20"],
        ["conv.type=SRF"],
        ["conv.type=Conv", "conv.horizon=3", "train.accumulate=2", "train.precision=bf16"],
    ],
    ids=["regression", "per step", "N-Jet", "ordinary"],
)
def test_other_tasks_and_layers(tmp_path, monkeypatch, flags):
    assert run(monkeypatch, tmp_path, *flags, "profile.n_batches=1") == 0
    result = json.loads((tmp_path / "profile.json").read_text())
    assert result["shares"]["convolution"] > 0.02
    assert all(layer["convolution"] > 0 for layer in result["layers"].values())


def test_kernels_that_are_sampled_together(tmp_path, monkeypatch):
    """As on a GPU, where the generators of all layers are evaluated at once."""

    def together(model, x, times=None):
        if model.training:
            blocks.sample_together([m for m in model.modules() if isinstance(m, CKConv)])

    monkeypatch.setattr("ckconv.models.flexnet.sample_kernels", together)
    assert run(monkeypatch, tmp_path) == 0
    result = json.loads((tmp_path / "profile.json").read_text())
    at_once = result["layers"]["(all layers at once)"]
    assert at_once["generation"] > 0 and at_once["masking"] > 0
    assert at_once["generation"] > result["layers"]["stem"]["generation"]
    assert sum(result["shares"].values()) == pytest.approx(1)


WRONG = {
    "channels": (["profile.data_shape=[4,3,8,8]"], "Digits has inputs of (batch, 1 channel"),
    "a sequence for images": (["profile.data_shape=[4,1,64]"], "profile.data_shape=[16,1,8,8]"),
    "images for a sequence": (
        [*SEQUENCES, "profile.data_shape=[4,1,8,8]"],
        "(batch, 1 channel, length); give such a shape, as profile.data_shape=[16,1,64]",
    ),
    "an empty batch": (["profile.data_shape=[0,1,8,8]"], "profile.data_shape=[0, 1, 8, 8]"),
    "no numbers": (["profile.data_shape=abc"], "profile.data_shape=abc: give a list"),
    "a shape for real data": (
        ["profile.data_mode=dataset", "profile.data_shape=[4,1,8,8]"],
        "takes the data set's own batches",
    ),
    "mode": (["profile.mode=tran"], "profile.mode=tran: unknown; choose one of train, evaluate"),
    "data mode": (["profile.data_mode=real"], "profile.data_mode=real: unknown"),
    "no steps": (["profile.n_batches=0"], "profile.n_batches=0: give a whole number of at least 1"),
    "warm-up": (["profile.warmup=-1"], "profile.warmup=-1: give a whole number of at least 0"),
    "compiled": (["train.compile=True"], "train.compile=True: compiled code"),
    "a file as folder": (
        [f"profile.directory={Path(__file__)}/x"],
        f"profile.directory={Path(__file__)}/x: cannot be made, not a directory",
    ),
}


@pytest.mark.parametrize("flags, message", WRONG.values(), ids=WRONG.keys())
def test_one_message_for_one_mistake(tmp_path, monkeypatch, capsys, flags, message):
    assert run(monkeypatch, tmp_path, *flags) == 1
    stderr = capsys.readouterr().err
    assert stderr.startswith("error: ") and stderr.count("\n") == 1, stderr
    assert message in stderr
    assert not (tmp_path / "profile.json").exists()


def test_from_the_shell(tmp_path):
    """Nothing but the program's own lines: no warning of PyTorch's or its profiler's."""
    flags = [*SMALL, "profile.n_batches=1"]
    done = programs.run(ROOT / "run_profiler.py", *flags, cwd=tmp_path)
    assert done.returncode == 0 and done.stderr == "", done.stderr
    assert len(list(tmp_path.glob("outputs/*/*/trace.json"))) == 1
