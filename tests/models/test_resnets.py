"""The residual baselines: their sizes, and what they accept."""

from __future__ import annotations

from cfg.schema import Config

import pytest
import torch

from ckconv import UsageError
from datasets.task import Task
from models import NETWORKS, build_model
from models.cifar_resnet import CIFARResNet, PlainBlock
from models.original_resnet import original_resnet

CIFAR = Task("CIFAR10", 3, 10, (32, 32), 45_000)


def build(name, task=CIFAR):
    cfg = Config()
    cfg.net.type = name
    return build_model(cfg, task)


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("CIFARResNet20", 269_722),
        ("CIFARResNet32", 464_154),
        ("CIFARResNet44", 658_586),
        ("CIFARResNet56", 853_018),
        ("CIFARResNet110", 1_727_962),
        ("CIFARResNet1202", 19_421_274),
        ("OriginalResnet10", 4_910_922),
        ("OriginalResnet18", 11_181_642),
    ],
)
def test_parameter_counts(name, parameters):
    with torch.device("meta"):
        model = build(name)
    assert sum(p.numel() for p in model.parameters()) == parameters


def test_every_resnet_of_the_flags_runs():
    with torch.device("meta"):
        for name in NETWORKS:
            if name.startswith(("CIFAR", "Original")) and name != "CIFARResNet1202":
                assert build(name)(torch.empty(2, 3, 32, 32, device="meta")).shape == (2, 10)


def test_original_resnets_are_torchvisions():
    from torchvision.models import resnet18, resnet50

    for depth, theirs in ((18, resnet18), (50, resnet50)):
        with torch.device("meta"):
            own, model = original_resnet(3, 7, depth).state_dict(), theirs(num_classes=7)
        assert {k: v.shape for k, v in own.items()} == {
            k: v.shape for k, v in model.state_dict().items()
        }


@pytest.mark.parametrize("name", ["CIFARResNet20", "OriginalResnet10"])
def test_channels_and_size_come_from_the_task(name):
    model = build(name, Task("Digits", 1, 5, (8, 8), 100)).eval()
    for size in ((8, 8), (32, 32), (28, 20)):
        assert model(torch.randn(2, 1, *size)).shape == (2, 5)


def test_shortcuts_have_no_parameters_and_pad_with_zeros():
    block = PlainBlock(4, 8, stride=2).eval()
    for norm in (block.norm1, block.norm2):
        torch.nn.init.zeros_(norm.weight)
    x = torch.rand(2, 4, 6, 6)
    out = block(x)
    torch.testing.assert_close(out[:, 2:6], x[:, :, ::2, ::2])
    assert not out[:, :2].any() and not out[:, 6:].any()
    assert not [name for name, _ in block.named_parameters() if "shortcut" in name]


def test_sequences_and_unknown_depths_are_refused():
    with pytest.raises(UsageError, match="net.type=CIFARResNet44: it reads images"):
        build("CIFARResNet44", Task("sMNIST", 1, 10, (784,), 100))
    with pytest.raises(UsageError, match="6 n \\+ 2"):
        CIFARResNet(3, 10, 21)
    with pytest.raises(UsageError, match="OriginalResnet10, "):
        original_resnet(3, 10, 20)
