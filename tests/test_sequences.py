"""The sequence experiments: presets, published checkpoints, regression and per-step classes."""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path

import pytest
import torch

import run_experiment
from ckconv import UsageError
from datasets import describe
from models import build_model
from program.command_line import compose
from training.checkpoints import pretrained
from training.validate import validate

pytestmark = pytest.mark.usefixtures("sketched")

PARAMETERS = {  # as the papers state them
    "smnist_flextcn2": 105_548,
    "smnist_flextcn4": 239_436,
    "smnist_flextcn6": 373_324,
    "pmnist_flextcn4": 239_436,
    "scifar10_flextcn2": 107_588,
    "scifar10_flextcn4": 241_476,
    "scifar10_flextcn6": 375_364,
    "smnist_ckcnn30": 98_286,
    "smnist_ckcnn100": 1_030_546,
    "pmnist_ckcnn100": 1_030_546,
}
# omega_0, net.dropout, net.dropout_in, batch size, epochs, weight decay, patience
CKCNN = {
    "smnist_ckcnn30": (31.09195739463897, 0.1, 0.1, 64, 200, 0.0, 20),
    "smnist_ckcnn100": (30.5, 0.2, 0.2, 64, 200, 0.0, 20),
    "pmnist_ckcnn30": (43.45667389601194, 0.0, 0.1, 64, 200, 0.0, 20),
    "pmnist_ckcnn100": (42.161651744476515, 0.0, 0.2, 64, 200, 0.0, 20),
    "scifar10_ckcnn30": (25.696, 0.2, 0.0, 64, 200, 0.0, 20),
    "scifar10_ckcnn100": (25.696, 0.3, 0.0, 64, 200, 1e-4, 20),
    "chartrajectories_ckcnn30": (21.44961185481323, 0.1, 0.0, 32, 200, 0.0, 20),
    "speechcommands_mfcc_ckcnn30": (30.90257553169801, 0.2, 0.0, 64, 200, 0.0, 15),
    "speechcommands_raw_ckcnn30": (39.450608806633795, 0.0, 0.0, 32, 300, 1e-4, 20),
    "speechcommands_raw_drop30_ckcnn30": (35.655229877794035, 0.1, 0.0, 32, 300, 1e-4, 20),
    "speechcommands_raw_drop50_ckcnn30": (31.700745675276966, 0.0, 0.0, 32, 300, 1e-4, 20),
    "speechcommands_raw_drop70_ckcnn30": (23.29255834358289, 0.1, 0.1, 32, 300, 0.0, 20),
}
# data set, channels, classes, steps; and the flag that makes a variant of it
TASKS = {
    "smnist": ("sMNIST", 1, 10, 784, {}),
    "pmnist": ("sMNIST", 1, 10, 784, {"permuted": True}),
    "scifar10": ("sCIFAR10", 3, 10, 1024, {}),
    "npcifar10": ("sCIFAR10", 96, 10, 1000, {"noise_padded": True}),
    "chartrajectories": ("CharTrajectories", 3, 20, 182, {}),
    "chartrajectories_drop50": ("CharTrajectories", 4, 20, 182, {"drop_rate": 50}),
    "speechcommands_mfcc": ("SpeechCommands", 20, 10, 161, {"mfcc": True}),
    "speechcommands_raw": ("SpeechCommands", 1, 10, 16_000, {}),
    "speechcommands_raw_drop70": ("SpeechCommands", 2, 10, 16_000, {"drop_rate": 70}),
}
CKCNN_FLAGS = (
    "net.type=FlexTCN",
    "net.no_blocks=2",
    "net.norm=LayerNorm",
    "conv.type=CKConv",
    "conv.horizon=same",
    "kernel.type=SIREN",
    "kernel.no_hidden=32",
    "kernel.no_layers=3",
    "kernel.weight_norm=True",
)


def run(monkeypatch, folder: Path, *flags: str) -> dict:
    """Run the program as a user does, in this process; returns what it wrote to result.json."""
    place = ["debug=True", "device=cpu", f"hydra.run.dir={folder}"]
    monkeypatch.setattr(sys, "argv", ["run_experiment.py", *place, *flags])
    run_experiment.main()
    return json.loads((folder / "result.json").read_text())


# ----- presets ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "expected"), PARAMETERS.items())
def test_presets_have_the_papers_parameters(name, expected):
    cfg = compose([f"+experiment={name}"])
    model = build_model(cfg, describe(cfg))
    assert sum(p.numel() for p in model.parameters()) == expected


@pytest.mark.parametrize("network", ["flextcn6", "ckcnn30"])
@pytest.mark.parametrize("data", TASKS)
def test_presets_have_the_right_data(data, network):
    cfg = compose([f"+experiment={data}_{network}"])
    validate(cfg)
    name, channels, classes, steps, variant = TASKS[data]
    task = describe(cfg)
    assert (task.name, task.in_channels, task.out_channels, task.size) == (
        name,
        channels,
        classes,
        (steps,),
    )
    for flag, off in {
        "permuted": False,
        "noise_padded": False,
        "mfcc": False,
        "drop_rate": 0,
    }.items():
        assert getattr(cfg.dataset_params, flag) == variant.get(flag, off)
    assert cfg.net.type == "FlexTCN" and cfg.conv.horizon == "same"
    recipe = (0.005, "cosine") if network == "flextcn6" else (0.001, "plateau")
    assert (cfg.train.lr, cfg.train.scheduler) == recipe
    assert cfg.train.scheduler_params.decay_factor == 5.0
    assert (cfg.net.no_hidden, cfg.net.no_blocks) == (30, 6 if network == "flextcn6" else 2)


@pytest.mark.parametrize(("name", "recipe"), CKCNN.items())
def test_ckcnn_recipes_are_the_papers(name, recipe):
    cfg = compose([f"+experiment={name}"])
    params = cfg.train.scheduler_params
    train = (cfg.train.batch_size, cfg.train.epochs, cfg.train.weight_decay, params.patience)
    assert (cfg.kernel.omega_0, cfg.net.dropout, cfg.net.dropout_in, *train) == recipe
    assert (cfg.kernel.type, cfg.kernel.no_hidden, cfg.kernel.no_layers) == ("SIREN", 32, 3)
    assert cfg.kernel.weight_norm and cfg.conv.type == "CKConv" and cfg.net.norm == "LayerNorm"
    assert cfg.net.no_hidden == (100 if name.endswith("100") else 30)


def test_the_flextcn_recipe_is_the_one_that_was_found():
    cfg = compose(["+experiment=smnist_flextcn4"])
    assert (cfg.kernel.type, cfg.kernel.no_hidden, cfg.kernel.no_layers) == ("MAGNet", 32, 3)
    assert (cfg.conv.type, cfg.mask.init_value, cfg.net.norm) == ("FlexConv", 0.5, "BatchNorm")
    assert (cfg.net.dropout, cfg.train.weight_decay, cfg.train.batch_size) == (0.1, 1e-4, 64)
    assert (cfg.train.epochs, cfg.train.scheduler_params.patience) == (200, 20)


# ----- published checkpoints ----------------------------------------------------------------------

PUBLISHED_NAMES = (  # ours -> the CKConv code's
    (r"^blocks\.", "backbone."),
    (r"\.conv([12])\.", r".cconv\1."),
    (r"\.generator\.layers\.0\.linear\.", ".Kernel.kernel_net.0."),
    (r"\.generator\.layers\.1\.linear\.", ".Kernel.kernel_net.4."),
    (r"\.generator\.output\.", ".Kernel.kernel_net.8."),
    (r"\.norm([12])\.", r".norm\1.layer_norm."),
    (r"\.shortcut\.", ".shortcut.0."),
    (r"^head\.", "finallyr."),
)


def as_published(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """A network's weights under the names and in the shapes of the CKConv code."""
    state = {}
    for name, value in model.state_dict().items():
        if name.endswith(("extent", "omega_0")):
            continue
        for pattern, replacement in PUBLISHED_NAMES:
            name = re.sub(pattern, replacement, name)
        is_pointwise = "kernel_net" in name and value.ndim == 2
        state[name] = value[..., None].clone() if is_pointwise else value.clone()
    return state


def make_ckcnn(*flags: str) -> torch.nn.Module:
    """A CKCNN with random weights in all its tensors."""
    cfg = compose([*CKCNN_FLAGS, *flags])
    torch.manual_seed(3)
    model = build_model(cfg, describe(cfg))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model.eval()


@pytest.mark.parametrize("wrap", [None, "state_dict"])
@pytest.mark.parametrize(
    ("flags", "width", "channels", "steps"),
    [
        (["dataset=sMNIST", "net.no_hidden=30", "kernel.omega_0=31.09"], 30, 1, 784),
        (["dataset=sCIFAR10", "net.no_hidden=12", "kernel.omega_0=25.7"], 12, 3, 100),
        (["dataset=CharTrajectories", "net.no_hidden=3", "kernel.omega_0=21.45"], 3, 3, 182),
        (["dataset=SpeechCommands", "dataset_params.mfcc=True", "net.no_hidden=7"], 7, 20, 161),
    ],
)
def test_checkpoints_of_other_widths_and_data_sets_load(
    tmp_path, flags, width, channels, steps, wrap
):
    model = make_ckcnn(*flags)
    state = as_published(model)
    assert state["backbone.1.cconv1.Kernel.kernel_net.8.weight_v"].shape == (width**2, 32, 1)
    torch.save({wrap: state} if wrap else state, tmp_path / "published.pt")
    cfg = compose([*CKCNN_FLAGS, *flags])
    other = build_model(cfg, describe(cfg)).eval()
    x = torch.randn(2, channels, steps)
    with torch.no_grad():
        before = other(x)
        assert pretrained.load(other, tmp_path / "published.pt") == {}
        assert torch.allclose(other(x), model(x), atol=1e-5)
        assert not torch.allclose(before, model(x), atol=1e-2)


def test_a_checkpoint_of_another_width_is_refused_by_name(tmp_path):
    path = tmp_path / "published.pt"
    torch.save(as_published(make_ckcnn("dataset=sDigits", "net.no_hidden=12")), path)
    cfg = compose([*CKCNN_FLAGS, "dataset=sDigits", "net.no_hidden=30"])
    with pytest.raises(UsageError, match=r"published\.pt: .* has shape .*give the flags"):
        pretrained.load(build_model(cfg, describe(cfg)), path)


def test_the_command_tests_a_checkpoint_of_another_width(tmp_path, monkeypatch):
    """The command for the published weights, with a network of 12 channels on sDigits."""
    flags = [*CKCNN_FLAGS, "dataset=sDigits", "net.no_hidden=12", "kernel.omega_0=20"]
    model = make_ckcnn(*flags)
    path = tmp_path / "published.pt"
    torch.save(as_published(model), path)
    weights = ["pretrained=True", f"pretrained_params.filepath={path}", "train.do=False"]
    result = run(monkeypatch, tmp_path / "run", *flags, *weights)
    expected = sum(
        (model(x).argmax(1) == target).sum().item() for x, target in batches_of_the_test(*flags)
    )
    assert round(result["test"]["accuracy"] * 360) == expected
    assert set(map(tuple, result["kernel_sizes"].values())) == {(64,)}


def batches_of_the_test(*flags: str):
    from datasets import build_loaders

    return build_loaders(compose(list(flags)))[1].test.batches()


@pytest.mark.real_data
@pytest.mark.parametrize("how", ["preset", "flag by flag"])
def test_the_published_weights_give_the_published_accuracy(tmp_path, monkeypatch, how):
    path = os.environ.get("FLEXCONV_PUBLISHED")
    if not path:
        pytest.skip("needs the published ckcnn_smnist_30.pt: set FLEXCONV_PUBLISHED to its path")
    if not (Path(os.environ["FLEXCONV_DATA"]) / "MNIST" / "raw").is_dir():
        pytest.skip("needs MNIST under FLEXCONV_DATA")
    typed = [*CKCNN_FLAGS, "dataset=sMNIST", "net.no_hidden=30", "kernel.omega_0=31.09"]
    result = run(
        monkeypatch,
        tmp_path,
        *(["+experiment=smnist_ckcnn30", "kernel.omega_0=31.09"] if how == "preset" else typed),
        "pretrained=True",
        f"pretrained_params.filepath={path}",
        "train.do=False",
        f"dataset_params.root={os.environ['FLEXCONV_DATA']}",
    )
    assert result["parameters"] == 98_286 and result["test"]["targets"] == 10_000
    assert round(result["test"]["accuracy"] * 10_000) == 9_932


# file, preset, the frequency that the count was made with, right answers of all test cases
OTHER_WEIGHTS = [
    ("ckcnn_pmnist_30.pt", "pmnist_ckcnn30", 43.46, 9_796, 10_000),
    ("ckcnn_scifar10_30.pt", "scifar10_ckcnn30", 25.70, 6_218, 10_000),
    ("ckcnn_chartrajectories_30.pt", "chartrajectories_ckcnn30", 21.45, 215, 215),
]


@pytest.mark.slow
@pytest.mark.real_data
@pytest.mark.parametrize(("file", "preset", "omega_0", "right", "cases"), OTHER_WEIGHTS)
def test_other_published_weights_too(tmp_path, monkeypatch, file, preset, omega_0, right, cases):
    """Beside those of sMNIST; of the trajectories the half whose labels can be had."""
    path = Path(os.environ.get("FLEXCONV_PUBLISHED", "none")).with_name(file)
    if not path.is_file():
        pytest.skip(f"needs {file} beside the file that FLEXCONV_PUBLISHED names")
    flags = ["pretrained=True", f"pretrained_params.filepath={path}", "train.do=False"]
    flags += [f"kernel.omega_0={omega_0}", f"dataset_params.root={os.environ['FLEXCONV_DATA']}"]
    result = run(monkeypatch, tmp_path, f"+experiment={preset}", *flags)
    assert result["test"]["targets"] == cases
    assert round(result["test"]["accuracy"] * cases) == right


# ----- tasks other than one class per sequence ----------------------------------------------------


def test_regression_and_its_table(tmp_path, monkeypatch, capsys):
    flags = ["dataset_params.seq_length=6", "train.max_batches=120", "train.epochs=1"]
    result = run(monkeypatch, tmp_path, "+experiment=addproblem_flextcn2", *flags)
    text = capsys.readouterr().out
    assert result["metric"] == "mse" and "accuracy" not in text
    assert result["test"]["mse"] < 0.03 and result["test"]["targets"] == 1000
    assert f"test mse           {result['test']['mse']:.4g}" in re.sub(
        r"mse +", "mse           ", text
    )
    assert "by validation mse" in text


def test_per_step_classes_and_their_table(tmp_path, monkeypatch, capsys):
    flags = ["dataset_params.seq_length=8", "dataset_params.memory_size=3"]
    flags += ["train.epochs=1", "train.max_batches=80"]
    result = run(monkeypatch, tmp_path, "+experiment=copymemory_flexnet1", *flags)
    text = capsys.readouterr().out
    assert result["test"]["targets"] == 1000 * (8 + 2 * 3)
    assert result["test"]["accuracy"] > 0.95  # 0.81 by chance
    assert "of 14,000)" in text


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "metric", "low", "high"),
    [
        ("sdigits_flextcn2", "accuracy", 0.95, 1.0),
        ("addproblem_flextcn2", "mse", 0.0, 0.005),
        ("copymemory_flexnet1", "accuracy", 0.999, 1.0),
    ],
)
def test_the_small_presets_reach_what_they_promise(tmp_path, monkeypatch, name, metric, low, high):
    result = run(monkeypatch, tmp_path, f"+experiment={name}")
    assert low <= result["test"][metric] <= high
