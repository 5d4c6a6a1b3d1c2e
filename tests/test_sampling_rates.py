"""Trained at one sampling rate, tested at another: `dataset_params.sr_train` and `sr_test`."""

from __future__ import annotations

from cfg.schema import Config

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import run_experiment
from ckconv import ConvConfig, KernelConfig, MaskConfig, UsageError
from ckconv.nn import CKConv, FlexConv
from datasets.char_trajectories import FILES, CharTrajectories
from datasets.task import Task
from models import FlexTCN, NetConfig
from training.report.result import describe_rates
from training.sampling_rate import at_test_rate, fix_kernel_sizes
from training.validate import validate_task

pytestmark = pytest.mark.usefixtures("sketched")

LENGTH = 401
TASK = Task("Waves", in_channels=2, out_channels=5, size=(LENGTH,), train_samples=10)


def make_config(sr_train=1, sr_test=2, **train):
    cfg = Config()
    cfg.dataset_params.sr_train, cfg.dataset_params.sr_test = sr_train, sr_test
    for name, value in train.items():
        setattr(cfg.train, name, value)
    return cfg


def smooth_input(length=LENGTH):
    """Two slow waves that set in slowly, (3, 2, L)."""
    t = torch.linspace(0, 1, length, dtype=torch.float64)
    waves = [
        torch.stack([torch.sin(6.28 * f * t), torch.cos(6.28 * (f + 0.7) * t)]) for f in (1, 2, 3)
    ]
    return torch.stack(waves) * torch.sin(1.57 * t) ** 2


def make_layer(kind):
    torch.manual_seed(0)
    if kind == "CKConv":
        return CKConv(2, 3, 1, KernelConfig(type="SIREN", omega_0=10.0), ConvConfig()).double()
    return FlexConv(2, 3, 1, KernelConfig(), ConvConfig(), MaskConfig(init_value=0.3)).double()


def error(got, expected):
    return ((got - expected).norm() / expected.norm()).item()


@pytest.mark.parametrize("kind", ["CKConv", "FlexConv"])
@pytest.mark.parametrize("n", [2, 4, 8])
def test_the_kernel_is_resampled_on_its_span_and_scaled(kind, n):
    layer = make_layer(kind)
    layer(smooth_input())
    whole, size = layer.conv_kernel.detach(), layer.kernel_size[0]
    layer.set_resolution(1 / n)
    coarse = layer.sample_kernel().dense().detach()
    assert (size, layer.kernel_size[0]) == (LENGTH, (LENGTH - 1) // n + 1)
    assert error(coarse, n * whole.flip(-1)[..., ::n][..., : coarse.shape[-1]].flip(-1)) < 1e-6
    layer.set_resolution(n)
    assert layer.kernel_size[0] == LENGTH
    assert error(layer.sample_kernel().dense().detach(), whole) < 1e-12


@pytest.mark.parametrize("kind", ["CKConv", "FlexConv"])
@pytest.mark.parametrize("n", [2, 4])
def test_smooth_inputs_give_the_same_output_at_a_lower_rate(kind, n):
    layer, x = make_layer(kind), smooth_input()
    with torch.no_grad():
        expected = layer(x)[..., ::n]
        layer.set_resolution(1 / n)
        assert error(layer(x[..., ::n]), expected) < 0.04 * n


def make_network():
    """A network whose weights are such that its outputs differ from input to input."""
    torch.manual_seed(1)
    net = NetConfig(type="FlexTCN", no_hidden=8, no_blocks=2)
    kernel = KernelConfig(type="SIREN", omega_0=8.0)
    conv = ConvConfig(type="CKConv")
    model = FlexTCN(2, 5, net, kernel, conv).double()
    torch.nn.init.normal_(model.head.weight)
    for _ in range(30):
        model(smooth_input() + 0.1 * torch.randn(3, 2, LENGTH, dtype=torch.float64))
    return model.eval()


def test_a_network_at_half_the_rate_answers_the_same():
    model, x = make_network(), smooth_input()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with torch.no_grad():
        expected = model(x)
        deployed = at_test_rate(model, TASK, make_config(1, 2))
        assert error(deployed(x[..., ::2]), expected) < 0.06
        assert error(model(x[..., ::2]), expected) > 0.3  # without being deployed
        assert torch.equal(model(x), expected)
    assert deployed is not model and not deployed.training
    after = model.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    assert model.blocks[0].conv1.kernel_size == (LENGTH,)
    assert deployed.blocks[0].conv1.kernel_size == (201,)


def test_a_network_at_twice_the_rate_answers_the_same():
    model, x = make_network(), smooth_input(2 * LENGTH - 1)
    with torch.no_grad():
        deployed = at_test_rate(model, TASK, make_config(2, 1))
        assert error(deployed(x), model(x[..., ::2])) < 0.06
    assert deployed.blocks[0].conv1.kernel_size == (2 * LENGTH - 1,)


def test_the_same_rate_leaves_the_network_alone():
    model = make_network()
    assert at_test_rate(model, TASK, make_config(4, 4)) is model


def test_a_network_that_has_seen_nothing_takes_the_sizes_of_training():
    """As after a checkpoint that does not tell the kernels' sizes."""
    torch.manual_seed(0)
    model = FlexTCN(2, 5, NetConfig(no_hidden=4, dropout=0.5), mask=MaskConfig(init_value=0.5))
    statistics = model.blocks[0].norm1.running_mean.clone()
    deployed = at_test_rate(model, TASK, make_config(1, 4))
    assert model.blocks[0].conv1.kernel_size == (LENGTH,) and model.training
    assert deployed.blocks[1].conv2.kernel_size == (101,)
    assert torch.equal(model.blocks[0].norm1.running_mean, statistics)


def test_fixed_horizons_are_resampled_too():
    net, conv = NetConfig(no_hidden=4), ConvConfig(horizon="65")
    model = FlexTCN(2, 5, net, conv=conv)
    fix_kernel_sizes(model, TASK)
    deployed = at_test_rate(model, TASK, make_config(1, 4))
    assert model.blocks[0].conv1.kernel_size == (65,)
    assert deployed.blocks[0].conv1.kernel_size == (17,)


def test_epochs_cannot_be_chosen_at_another_rate():
    with pytest.raises(UsageError, match=r"train\.select_on=test: .*sr_test=2"):
        validate_task(make_config(1, 2, select_on="test"), TASK)
    validate_task(make_config(2, 2, select_on="test"), TASK)
    validate_task(make_config(1, 2, select_on="test", do=False), TASK)


def test_rates_in_words():
    assert describe_rates(1, 2) == "trained on every sample, tested on every 2nd"
    assert describe_rates(8, 1) == "trained on every 8th, tested on every sample"


# ----- as a user does it --------------------------------------------------------------------------

CASES = 12  # of each character


@pytest.fixture
def trajectories(tmp_path, monkeypatch) -> Path:
    """Smooth strokes of 20 kinds in the published layout; the folder that holds them."""
    monkeypatch.setattr(CharTrajectories, "cases", 20 * CASES)
    random = np.random.RandomState(0)
    lines = []
    for label in range(20):
        for case in range(CASES):
            length = 182 if case % 3 == 0 else random.randint(150, 182)
            t = np.linspace(0, 1, length)
            phase = 0.2 * random.randn()
            strokes = [
                np.sin(2 * np.pi * (1 + label % 5) * t + phase),
                np.cos(2 * np.pi * (1 + label // 5) * t + phase),
                np.sin(np.pi * t),
            ]
            channels = [",".join(f"{v:.5f}" for v in stroke) for stroke in strokes]
            lines.append(":".join([*channels, str(label + 1)]))
    folder = tmp_path / "data" / "CharacterTrajectories"
    folder.mkdir(parents=True)
    for name, part in zip(FILES, (lines[::2], lines[1::2])):
        (folder / name).write_text("@problemName CharacterTrajectories\n@data\n" + "\n".join(part))
    return tmp_path / "data"


def run(monkeypatch, folder: Path, *flags: str) -> dict:
    place = ["debug=True", "device=cpu", f"hydra.run.dir={folder}"]
    monkeypatch.setattr(sys, "argv", ["run_experiment.py", *place, *flags])
    run_experiment.main()
    return json.loads((folder / "result.json").read_text())


def test_a_run_tests_at_another_rate(tmp_path, monkeypatch, capsys, trajectories):
    flags = [
        "+experiment=chartrajectories_flextcn2",
        f"dataset_params.root={trajectories}",
        "net.no_hidden=12",
        "net.no_blocks=1",
        "net.dropout=0",
        "mask.init_value=0.5",
        "train.batch_size=16",
        "train.lr=0.01",
        "train.epochs=16",
        "train.scheduler=cosine",
    ]
    half = run(monkeypatch, tmp_path / "half", *flags, "dataset_params.sr_test=2")
    text = capsys.readouterr().out
    assert "trained on every sample, tested on every 2nd" in text
    weights = [
        "pretrained=True",
        f"pretrained_params.filepath={tmp_path / 'half' / 'best.pt'}",
        "train.do=False",
        "test.before_train=True",
    ]
    whole = run(monkeypatch, tmp_path / "whole", *flags, *weights)
    assert "sampling" not in capsys.readouterr().out
    every_4th = "dataset_params.sr_test=4"
    quarter = run(monkeypatch, tmp_path / "quarter", *flags, *weights, every_4th)
    accuracy = [result["test"]["accuracy"] for result in (whole, half, quarter)]
    assert accuracy[0] > 0.8 and accuracy[1] > accuracy[0] - 0.06
    assert accuracy[2] > accuracy[0] - 0.15
    for result in (whole, half, quarter):
        full = next(iter(result["kernel_sizes"].values()))[0]
        assert 91 < full <= 182  # reported as trained
    assert quarter["test_before_train"] == quarter["test"]
