"""Kernels sampled together are the kernels that layers sample alone."""

from __future__ import annotations

import copy

import pytest
import torch

from ckconv import ConvConfig, KernelConfig, MaskConfig
from ckconv.nn import CKConv, FlexConv, kept_kernels, sample_together


@pytest.mark.parametrize("kind", ["MAGNet", "Gabor", "Fourier", "SIREN", "nSIREN", "MLP"])
@pytest.mark.parametrize("dim", [1, 2])
def test_the_same_kernels_and_gradients(kind, dim):
    torch.manual_seed(0)
    kernel, conv = KernelConfig(type=kind, weight_norm=kind == "SIREN"), ConvConfig(horizon="17")
    layers = [
        FlexConv(a, b, dim, kernel, conv, MaskConfig(init_value=sigma))
        for a, b, sigma in ((1, 2, 0.1), (2, 3, 0.3), (3, 3, 2.0))
    ]
    layers += [CKConv(2, 2, dim, kernel, conv), FlexConv(1, 1, dim, kernel)]  # one of open size
    layers = [layer.double() for layer in layers]
    inputs = [torch.randn(2, x.in_channels, *[12] * dim, dtype=torch.float64) for x in layers]
    results = []
    for together in (False, True):
        for layer in layers:
            layer.zero_grad()
            if layer.horizon == "same":
                layer.extent.zero_()
        if together:
            sample_together(layers)
            assert sum(layer.in_use.prepared is not None for layer in layers) == (
                0 if kind == "MLP" else 4
            )
        outputs = [layer(x) for layer, x in zip(layers, inputs)]
        assert all(layer.in_use.prepared is None for layer in layers)  # used once
        sum(y.square().sum() for y in outputs).backward()
        grads = [p.grad.clone() for layer in layers for p in layer.parameters()]
        results.append((outputs, [layer.conv_kernel for layer in layers], grads))
    for alone, together in zip(*results):
        for a, b in zip(alone, together):
            assert a.shape == b.shape
            assert (a - b).norm() <= 1e-10 * a.norm() + 1e-12


def test_kernels_that_were_not_used_are_dropped_with_the_mode():
    """As where a training step fails half way: what comes next has other weights."""
    layers = [CKConv(1, 1, 2, conv=ConvConfig(horizon="5")) for _ in range(2)]
    sample_together(layers)
    layer, x = layers[0], torch.randn(1, 1, 8, 8)
    layer.generator.output.weight.data.mul_(2)
    with torch.no_grad():
        assert not torch.equal(copy.deepcopy(layer)(x), layer(x))
        sample_together(layers)
        layer.generator.output.weight.data.mul_(2)
        assert torch.equal(copy.deepcopy(layer)(x), layer.eval()(x))


def test_kernels_are_kept_within_the_block_only():
    layer = CKConv(1, 1, 2, conv=ConvConfig(horizon="5")).eval()
    x = torch.randn(1, 1, 8, 8)
    with torch.no_grad(), kept_kernels(layer):
        layer(x)
        kept = layer.in_use.last
        layer(x)
        assert layer.in_use.last is kept
    assert layer.cache is False
    with torch.no_grad():
        layer(x)
    assert layer.in_use.last is not kept


@pytest.mark.parametrize("length", [5, 40])
@pytest.mark.parametrize("horizon", ["same", "9", "full"])
def test_the_last_step_alone(length, horizon):
    torch.manual_seed(0)
    conv = ConvConfig(horizon=horizon)
    layer = FlexConv(2, 3, 1, KernelConfig(), conv, MaskConfig(init_value=0.5)).double()
    x = torch.randn(4, 2, length, dtype=torch.float64)
    assert torch.allclose(layer.last_step(x), layer(x)[..., -1:])
