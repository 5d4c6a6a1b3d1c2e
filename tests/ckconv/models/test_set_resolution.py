"""Deploying at another resolution: the same function of the same scene, sampled differently."""

from __future__ import annotations

import pytest
import torch

from ckconv import ConvConfig, KernelConfig, MaskConfig, UsageError
from ckconv.antialiasing import bound, nyquist, regularizer
from ckconv.nn import FlexConv
from models import FlexNet, FlexTCN, NetConfig, set_resolution

SOURCE = 17  # samples per axis of the scene and of the kernel


def scene(*size):
    """A smooth picture or signal on [-1, 1] per axis, two channels, sampled at `size` points."""
    axes = torch.meshgrid(*(torch.linspace(-1, 1, n) for n in size), indexing="ij")
    distance = sum((axis - 0.1 * d).square() for d, axis in enumerate(axes))
    bump = torch.exp(-distance / (2 * 0.25**2))
    return torch.stack([bump, bump * torch.cos(4 * axes[0])])[None]  # (1, 2, *size)


def layer(dim, **kernel):
    """A layer whose kernel falls off to both sides.

    The abrupt end of a causal kernel makes the sum over it inexact at any bandwidth.
    """
    torch.manual_seed(0)
    conv, mask = ConvConfig(horizon=str(SOURCE)), MaskConfig(init_value=0.3, dynamic_cropping=False)
    made = FlexConv(2, 3, dim, KernelConfig(no_hidden=8, **kernel), conv, mask)
    torch.nn.init.zeros_(made.mask.mean)
    torch.nn.init.zeros_(made.generator.output.bias)
    return made


def without_aliases(made):
    optimizer = torch.optim.SGD(made.generator.parameters(), lr=25.0)
    for _ in range(400):
        optimizer.zero_grad()
        regularizer(made, SOURCE, 0.1).backward()
        optimizer.step()
    assert bound(made).item() < 1.1 * nyquist(SOURCE)
    return made


@torch.no_grad()
def disagreement(made, ratios):
    """How far the responses at two resolutions are apart, where both have a sample."""
    coarse = made(scene(*[SOURCE] * made.dim))
    fine_size = [int((SOURCE - 1) * r) + 1 for r in ratios]
    set_resolution(made, ratios[0] if len(set(ratios)) == 1 else tuple(ratios))
    fine = made(scene(*fine_size))
    for d, ratio in enumerate(ratios, start=2):
        if ratio > 1:
            fine = fine.index_select(d, torch.arange(0, fine.shape[d], int(ratio)))
        elif ratio < 1:
            coarse = coarse.index_select(d, torch.arange(0, coarse.shape[d], int(1 / ratio)))
    return ((coarse - fine).norm() / coarse.norm()).item()


@pytest.mark.parametrize(
    "ratios", [(2,), (4,), (2, 2), (3, 3), (2, 1), (1, 4)], ids=lambda r: "x".join(map(str, r))
)
def test_a_kernel_without_aliases_responds_the_same(ratios):
    assert disagreement(without_aliases(layer(len(ratios), input_scale=60.0)), ratios) < 0.02


@pytest.mark.parametrize("ratios", [(2,), (2, 2)], ids=["1-D", "2-D"])
def test_a_kernel_with_aliases_does_not(ratios):
    assert disagreement(layer(len(ratios), type="Fourier"), ratios) > 0.2


@pytest.mark.parametrize("dim", [1, 2])
def test_there_and_back_again(dim):
    made = layer(dim)
    x = scene(*[SOURCE] * dim)
    before = made(x)
    for ratio in (2, 0.5, 1.5, 2, 1 / 3):
        set_resolution(made, ratio)
    assert made.kernel_size == (SOURCE,) * dim
    torch.testing.assert_close(made(x), before)


def test_down_keeps_the_sum_over_the_kernel():
    made = without_aliases(layer(2, input_scale=10.0))
    whole = made.conv_kernel.sum((2, 3))
    set_resolution(made, 0.5)
    assert made.kernel_size == (9, 9)
    difference = (made.conv_kernel.sum((2, 3)) - whole).norm() / whole.norm()
    assert difference.item() < 0.05


@pytest.mark.parametrize("kind", ["FlexConv", "CKConv", "SRF", "Conv"])
def test_every_layer_of_a_network_and_no_weight(kind):
    net = NetConfig(no_hidden=4, no_blocks=2, block_width_factors=[1.0, 1, 2.0, 1])
    made = FlexNet(3, 5, 2, net, conv=ConvConfig(type=kind, horizon="9")).eval()
    x = torch.randn(2, 3, 8, 8)
    made(x)
    before = {name: value.clone() for name, value in made.state_dict().items()}
    made.set_resolution(2)
    assert made(torch.randn(2, 3, 16, 16)).shape == (2, 5)
    sizes = [m.kernel_size for m in made.modules() if hasattr(m, "sampling_rate_norm")]
    assert sizes == [(17, 17)] * (5 if kind in ("FlexConv", "CKConv") else 0)
    for name, value in made.state_dict().items():
        assert name.endswith(("extent", "resolution")) or torch.equal(value, before[name])


def test_sequences():
    made = FlexTCN(1, 5, NetConfig(no_hidden=4, no_blocks=2)).eval()
    made(torch.randn(2, 1, 30))  # the horizon is the sequence's length
    made.set_resolution(0.5)
    assert made(torch.randn(2, 1, 15)).shape == (2, 5)
    assert {m.kernel_size for m in made.modules() if isinstance(m, FlexConv)} == {(15,)}


def test_an_njet_has_one_scale():
    made = FlexNet(3, 5, 2, NetConfig(no_hidden=4, no_blocks=1), conv=ConvConfig(type="SRF"))
    with pytest.raises(UsageError, match="one sigma for both axes"):
        made.set_resolution((2.0, 1.0))
