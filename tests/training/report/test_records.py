"""What a run leaves behind: lines, CSV, table, picture, environment."""

from __future__ import annotations

import importlib.metadata
import re

import numpy as np
import pytest
import torch
from fakes import TASK, make_config
from matplotlib.image import imread
from torch import nn

from ckconv import ConvConfig, MaskConfig
from ckconv.nn import CKConv, FlexConv
from program.environment import environment
from training.report import epochs, figures, layers, result
from training.report.progress import Progress

ROW = {
    "epoch": 3,
    "lr": 0.005,
    "train_loss": 0.5,
    "train_accuracy": 0.9,
    "validation_loss": 0.25,
    "validation_accuracy": 0.975,
    "seconds": 1.25,
}


def test_an_epochs_line():
    assert epochs.epoch_line(ROW, 10, is_best=True, show_time=True) == (
        "epoch  3/10 | train loss 0.5, accuracy 90.00 % | validation loss 0.25, accuracy 97.50 % "
        "| lr 0.005 | 1.2 s *"
    )
    plain = epochs.epoch_line(ROW, 10, is_best=False, show_time=False)
    assert plain.endswith("lr 0.005")


def test_wandbs_names():
    names = set(epochs.grouped(ROW))
    assert {"train/loss", "validation/accuracy", "lr", "epoch", "seconds"} <= names


@pytest.mark.parametrize(
    "seconds, text", [(12.34, "12.3 s"), (245, "4 min 05 s"), (7380, "2 h 03 min")]
)
def test_durations(seconds, text):
    assert result.duration(seconds) == text


@pytest.fixture
def network():
    torch.manual_seed(0)
    mask = MaskConfig(init_value=0.3)
    model = nn.Sequential(
        FlexConv(1, 4, conv=ConvConfig(horizon="15"), mask=mask),
        CKConv(4, 2, conv=ConvConfig(horizon="5")),
    )
    model(torch.randn(1, 1, 15, 15))
    return model


def test_layers_and_their_masks(network):
    flex, plain = layers.generated_layers(network)
    assert (flex.name, flex.full_size, flex.size) == ("0", (15, 15), network[0].cropped_size())
    assert flex.size[0] < 15 and flex.kernel.shape == (4, 1, *flex.size)
    assert plain.size == plain.full_size == (5, 5) and plain.mask is None
    assert layers.mask_parameters(network) == pytest.approx(
        {"mask/0/mean_0": 0, "mask/0/mean_1": 0, "mask/0/sigma_0": 0.3, "mask/0/sigma_1": 0.3}
    )
    assert layers.fixed_sizes(nn.Sequential(nn.Conv2d(1, 1, 3), nn.Conv2d(1, 1, 1))) == [(3, 3)]


def test_the_table(network, tmp_path):
    progress = Progress(epoch=9, best_epoch=7, best=0.985)
    values = result.result(
        make_config(),
        TASK,
        network,
        {"loss": 0.1, "accuracy": 0.975, "targets": 40},
        progress,
        75.0,
        torch.device("cpu"),
    )
    rows = [
        re.split(r"\s{2,}", line) for line in result.table(values, network, tmp_path).split("\n")
    ]
    table = dict(row for row in rows if len(row) == 2)
    assert table["test accuracy"] == "97.50 % (39 of 40)"
    assert table["best epoch"] == "7 of 9, by validation accuracy (98.50 %)"
    size = layers.size_text(network[0].cropped_size())
    assert table["kernel of 0"] == f"{size} of 15×15" and table["kernel of 1"] == "5×5"
    assert table["wall time"] == "1 min 15 s" and table["files"] == str(tmp_path)
    assert table["parameters"] == f"{sum(p.numel() for p in network.parameters()):,}"


def test_an_unselected_run_says_so(network, tmp_path):
    values = result.result(
        make_config(),
        TASK,
        network,
        {"loss": 0.1, "accuracy": 0.5, "targets": 40},
        Progress(epoch=9),
        1.0,
        torch.device("cpu"),
    )
    assert values["selected_on"] is None
    assert "9, the last: no samples are held out" in result.table(values, network, tmp_path)


@pytest.mark.parametrize("dim", [1, 2])
def test_the_picture_shows_every_layer(tmp_path, dim):
    torch.manual_seed(0)
    size = (31,) if dim == 1 else (15, 15)
    sizes = []
    for depth in (1, 3):
        model = nn.Sequential(*(FlexConv(2, 2, dim=dim) for _ in range(depth)))
        model(torch.randn(1, 2, *size))
        figures.save_kernels(model, tmp_path / "kernels.png", "title")
        picture = imread(tmp_path / "kernels.png")
        sizes.append(picture.shape)
        assert np.unique(picture.reshape(-1, 4), axis=0).shape[0] > 50
    assert sizes[1][0] > 1.5 * sizes[0][0] and sizes[1][1] == sizes[0][1]
    assert [path.name for path in tmp_path.iterdir()] == ["kernels.png"]


def test_a_network_without_generated_kernels_has_no_picture(tmp_path):
    figures.save_kernels(nn.Conv2d(1, 1, 3), tmp_path / "kernels.png", "title")
    assert not list(tmp_path.iterdir())


def test_the_environment_names_versions_and_device():
    values = environment(torch.device("cpu"))
    assert values["packages"]["torch"] == torch.__version__.split("+")[0]
    for name in ("numpy", "hydra-core", "omegaconf", "pytest"):  # every one that is installed
        assert values["packages"][name] == importlib.metadata.version(name)
    assert values["device"] == "cpu" and values["command"].startswith("python ")
    assert values["commit"] is None or re.fullmatch("[0-9a-f]{40}", values["commit"])
