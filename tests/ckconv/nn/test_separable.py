"""The 1x1 convolution after a depthwise one, as a product of matrices."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import ckconv
from ckconv.nn import SepFlexConv1d, SepFlexConv2d, SepFlexConv3d

LAYERS = {1: SepFlexConv1d, 2: SepFlexConv2d, 3: SepFlexConv3d}
PLAIN = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}


def made(dim: int) -> nn.Module:
    torch.manual_seed(0)
    layer = LAYERS[dim](3, 4, 5, dtype=torch.float64)
    with torch.no_grad():
        layer.bias.uniform_(-1, 1)
        layer.channel_mixer.bias.uniform_(-1, 1)
    return layer


def plainly(layer: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """What the layer gives, its biases and 1x1 convolution by PyTorch's own."""
    mixer = layer.channel_mixer
    plain = PLAIN[layer.dim](3, 4, 1, device="meta")
    plain.weight, plain.bias = mixer.weight, mixer.bias
    bias, layer.bias = layer.bias, None
    layer.channel_mixer = nn.Identity()
    layer.channel_mixer.forward = lambda y, _: y
    y = layer(x)
    layer.bias, layer.channel_mixer = bias, mixer
    return plain(y + bias.view(-1, *[1] * layer.dim))


@pytest.mark.parametrize("batch", [(), (1,), (2,), "channels-last"])
@pytest.mark.parametrize("dim", LAYERS)
def test_values_and_gradients(dim, batch):
    layer = made(dim)
    x = torch.randn(*(batch if isinstance(batch, tuple) else (2,)), 3, *[6] * dim).double()
    if batch == "channels-last":
        x = x.movedim(1, -1).contiguous().movedim(-1, 1)
    x.requires_grad_()
    leaves = [x, *layer.parameters()]
    found = []
    for y in (layer(x), plainly(layer, x)):
        found.append((y, *torch.autograd.grad(y.sin().sum(), leaves, allow_unused=True)))
    for ours, expected in zip(*found):
        assert (ours is None) == (expected is None)
        if ours is not None:
            torch.testing.assert_close(ours, expected, rtol=1e-10, atol=1e-10)


def test_frozen_it_is_an_ordinary_convolution():
    layer, x = made(2).eval(), torch.randn(2, 3, 6, 6).double()
    frozen = ckconv.freeze(layer)
    assert type(frozen[-1]) is nn.Conv2d
    torch.testing.assert_close(torch.jit.script(frozen)(x), layer(x), rtol=1e-10, atol=1e-10)
