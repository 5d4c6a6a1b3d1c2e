"""Where and how a network computes."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from ckconv import ConvConfig
from ckconv.nn import FlexConv
from program.device import place

CPU = torch.device("cpu")


@pytest.mark.parametrize("asked, expected", [("auto", True), ("True", True), ("False", False)])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("backend", ["True", "False"])
def test_the_layout_of_images(asked, expected, channels, backend):
    stem = FlexConv(channels, 8, conv=ConvConfig(horizon="5", use_fft=backend))
    model = nn.Sequential(stem, nn.BatchNorm2d(8), nn.ReLU())
    x = torch.randn(2, channels, 6, 7)
    plain = copy.deepcopy(model)(x)
    seen = []
    placed = place(model, CPU, asked)
    placed[2].register_forward_hook(lambda *_: seen.append(_[-1]))
    torch.testing.assert_close(placed(x), plain)
    assert seen[0].is_contiguous(memory_format=torch.channels_last) == expected
    assert seen[0].is_contiguous() != expected


def test_a_placed_network_takes_sequences_and_is_copied():
    model = place(nn.Conv1d(2, 3, 1), CPU)
    x = torch.randn(4, 2, 9)
    torch.testing.assert_close(copy.deepcopy(model)(x), model(x))
