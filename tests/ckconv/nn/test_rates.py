"""Kernels at another sampling rate as the CKConv code samples them."""

from __future__ import annotations

import math

import pytest
import torch

from ckconv import ConvConfig, KernelConfig, UsageError
from ckconv.nn import CKConv, FlexConv, set_length
from ckconv.nn.rates import StepGrid


@pytest.mark.parametrize(
    ("trained", "length", "ratio", "steps"),
    [
        (182, 91, 2, 180),  # every second position of the trained 181 steps: the last is left out
        (182, 46, 4, 180),
        (182, 23, 8, 176),
        (91, 182, 1 / 2, 90.5),
        (46, 182, 1 / 4, 45.25),
        (23, 182, 1 / 8, 22.625),
        (784, 784, 1, 783),
    ],
)
def test_positions_keep_the_trained_step(trained, length, ratio, steps):
    grid = StepGrid.of(trained, length)
    assert grid.ratio == ratio
    step = 2 / (trained - 1)
    assert grid.last == pytest.approx(-1 + steps * step)
    assert grid.reach == (round(1 / ratio) if ratio < 1 else 0)


def make(length: int) -> CKConv:
    torch.manual_seed(0)
    layer = CKConv(2, 3, 1, KernelConfig(type="SIREN", omega_0=8.0)).double().eval()
    layer(torch.randn(1, 2, length, dtype=torch.float64))
    return layer


def values(layer: CKConv, positions: torch.Tensor) -> torch.Tensor:
    """The generator's values there, (3, 2, N)."""
    return layer.generator(positions.double()[None, None])[0].view(3, 2, -1)


@pytest.mark.parametrize("n", [2, 4, 8])
def test_a_lower_rate_takes_every_nth_position_times_n(n):
    layer = make(182)
    set_length(layer, -(-182 // n))
    positions = torch.linspace(-1, 1, 182, dtype=torch.float64)[::n]
    torch.testing.assert_close(layer.sample_kernel().dense(), n * values(layer, positions))
    x = torch.randn(2, 2, -(-182 // n), dtype=torch.float64)
    assert layer(x).shape == (2, 3, x.shape[2])


def test_a_higher_rate_is_smoothed_except_at_the_edges():
    layer = make(91)
    set_length(layer, 182)
    positions = -1 + torch.arange(182, dtype=torch.float64) / 90
    kernel = values(layer, positions) / 2
    bell = [math.exp(-2 * x * x) / (0.5 * math.sqrt(2 * math.pi)) for x in range(-2, 3)]
    expected = kernel.clone()
    for i in range(2, 180):
        expected[..., i] = sum(w * kernel[..., i + x] for x, w in zip(range(-2, 3), bell))
    torch.testing.assert_close(layer.sample_kernel().dense(), expected)


def test_a_kept_kernel_notices_the_change():
    torch.manual_seed(0)
    layer = CKConv(1, 1, 1, KernelConfig(type="SIREN"), ConvConfig(cache=True)).eval()
    with torch.no_grad():
        layer(torch.randn(1, 1, 40))
        before = layer.conv_kernel.clone()
        set_length(layer, 20)
        layer(torch.randn(1, 1, 20))
    torch.testing.assert_close(layer.conv_kernel, 2 * before[..., ::2], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    "layer",
    [FlexConv(1, 1, dim=1), CKConv(1, 1, dim=1, conv=ConvConfig(horizon="9")), CKConv(1, 1, dim=2)],
)
def test_other_layers_are_refused(layer):
    with pytest.raises(UsageError, match=r"sr_positions=ckconv"):
        set_length(layer, 20)
