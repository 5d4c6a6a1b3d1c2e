"""Sequences whose samples lie at times of their own."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from ckconv import ConvConfig, KernelConfig, MaskConfig, UsageError
from ckconv.functional import irregular
from ckconv.models import FlexNet, FlexTCN, Timed
from ckconv.nn import CKConv, FlexConv, conv_at_times

GENERATORS = ("SIREN", "nSIREN", "Fourier", "Gabor", "MAGNet")


def make_layer(
    kind: str = "MAGNet", horizon: str = "same", sigma: float = 0.3, threshold: float = 0.1
) -> FlexConv:
    torch.manual_seed(0)
    mask = MaskConfig(init_value=sigma, threshold=threshold)
    kernel = KernelConfig(type=kind, no_hidden=8, no_layers=2, omega_0=10.0, norm="")
    layer = FlexConv(3, 4, 1, kernel, ConvConfig(horizon=horizon), mask).double()
    torch.nn.init.normal_(layer.bias)
    return layer


def regular_times(batch: int, length: int) -> Tensor:
    return torch.arange(length, dtype=torch.float64).expand(batch, -1)


@pytest.mark.parametrize("kind", [*GENERATORS, "MLP"])
@pytest.mark.parametrize("horizon, sigma", [("same", 0.3), ("11", 5.0), ("full", 0.1)])
def test_regular_times_give_the_regular_convolution(kind, horizon, sigma):
    layer = make_layer(kind, horizon, sigma)
    x = torch.randn(2, 3, 24, dtype=torch.float64)
    expected = layer(x)
    times = regular_times(2, 24)
    torch.testing.assert_close(conv_at_times(layer, x, times), expected, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(
        conv_at_times(layer, x, times, last_step=True), expected[..., -1:], rtol=1e-9, atol=1e-9
    )


def test_gradients_are_those_of_the_regular_convolution():
    layer = make_layer()
    x = torch.randn(2, 3, 24, dtype=torch.float64, requires_grad=True)
    inputs = (x, *layer.parameters())
    expected = torch.autograd.grad(layer(x).square().sum(), inputs)
    given = torch.autograd.grad(
        conv_at_times(layer, x, regular_times(2, 24)).square().sum(), inputs
    )
    for one, other in zip(given, expected):
        torch.testing.assert_close(one, other, rtol=1e-7, atol=1e-7)


def test_a_layer_without_a_mask_takes_times_too():
    layer = CKConv(2, 3, 1, KernelConfig(type="SIREN", no_hidden=8)).double()
    x = torch.randn(2, 2, 10, dtype=torch.float64)
    torch.testing.assert_close(
        conv_at_times(layer, x, regular_times(2, 10)), layer(x), rtol=1e-9, atol=1e-9
    )


def smooth(times: Tensor) -> Tensor:
    """A signal of three channels at (B, L) times: (B, 3, L)."""
    return torch.stack([torch.sin(times / 9), torch.cos(times / 13), torch.sin(times / 5)], 1)


def test_irregular_times_approach_dense_sampling():
    fine = 16  # dense samples per step
    layer, dense = (make_layer("SIREN", "65", 0.3, 1e-4) for _ in range(2))
    dense.set_resolution(fine)
    grid = torch.arange(64 * fine + 1, dtype=torch.float64)[None] / fine
    x = smooth(grid)
    # The present sample stands for the half step that follows it, however dense the others are.
    excess = torch.einsum("oc,bcl->bol", layer.conv_kernel[..., -1], x) * (0.5 - 0.5 / fine)
    expected = dense(x) + excess

    errors = {}
    for spacing in (8, 4, 2):  # the widest gap is nearly twice as many dense samples
        generator = torch.Generator().manual_seed(1)
        gaps = torch.randint(1, 2 * spacing, (800,), generator=generator)
        kept = torch.cat([torch.zeros(1, dtype=torch.int64), gaps.cumsum(0)])
        kept = kept[kept < grid.shape[1]]
        wanted = (expected - layer.bias[:, None])[..., kept[-8:]]
        times, samples = grid[:, kept], x[..., kept]
        given = (conv_at_times(layer, samples, times) - layer.bias[:, None])[..., -8:]
        errors[spacing] = (given - wanted).norm() / wanted.norm()
    ignoring = (layer(samples) - layer.bias[:, None])[..., -8:]  # as if one step apart
    assert errors[2] < errors[4] < errors[8] < 1e-3 and errors[2] < 1e-4
    assert (ignoring - wanted).norm() / wanted.norm() > 0.3


def test_times_are_causal():
    layer = make_layer()
    times = torch.rand(1, 20, dtype=torch.float64).cumsum(1)
    x = torch.randn(1, 3, 20, dtype=torch.float64)
    y = conv_at_times(layer, x, times)
    later = times.clone()
    later[:, 12:] += torch.rand(8, dtype=torch.float64).cumsum(0)
    changed = x.clone()
    changed[..., 12:] = 0
    torch.testing.assert_close(conv_at_times(layer, changed, later)[..., :12], y[..., :12])
    assert not torch.allclose(conv_at_times(layer, x, later)[..., 12:], y[..., 12:])


def test_groups_of_sequences_do_not_change_the_result(monkeypatch):
    layer = make_layer()
    times = torch.rand(5, 12, dtype=torch.float64).cumsum(1)
    x = torch.randn(5, 3, 12, dtype=torch.float64)
    whole = conv_at_times(layer, x, times)
    monkeypatch.setattr(irregular, "PAIRS", 300)  # two sequences at a time
    torch.testing.assert_close(conv_at_times(layer, x, times), whole)


def test_what_times_do_not_go_with_is_said():
    x, times = torch.zeros(1, 3, 8), torch.arange(8.0)[None]
    with pytest.raises(UsageError, match="kernel.norm"):
        conv_at_times(CKConv(3, 4, 1, KernelConfig(type="MLP")), x, times)
    with pytest.raises(UsageError, match="stride, dilation and groups of 1"):
        conv_at_times(CKConv(3, 4, 1, conv=ConvConfig(stride=2)), x, times)
    with pytest.raises(ValueError, match=r"\(B, L\)"):
        conv_at_times(CKConv(3, 4, 1), x, times[:, :5])


@pytest.mark.parametrize("network", ["FlexNet", "FlexTCN"])
@pytest.mark.parametrize("training", [True, False])
def test_networks_hand_times_to_all_their_layers(network, training):
    torch.manual_seed(0)
    kernel = KernelConfig(no_hidden=8, no_layers=1)
    model = (
        FlexNet(2, 5, 1, kernel=kernel) if network == "FlexNet" else FlexTCN(2, 5, kernel=kernel)
    ).double()
    model.train(training)
    x = torch.randn(3, 2, 16, dtype=torch.float64)
    times = regular_times(3, 16)
    torch.testing.assert_close(model(x, times=times), model(x), rtol=1e-9, atol=1e-9)
    timed = Timed(model)(torch.cat([x, times[:, None] ** 1.1], 1))
    torch.testing.assert_close(timed, model(x, times=times**1.1))
    assert not torch.allclose(timed, model(x))


def test_networks_of_ordinary_convolutions_know_no_times():
    model = FlexTCN(2, 5, conv=ConvConfig(type="Conv", horizon="3"))
    with pytest.raises(UsageError, match="conv.type=FlexConv"):
        model(torch.zeros(1, 2, 8), times=torch.arange(8.0)[None])
