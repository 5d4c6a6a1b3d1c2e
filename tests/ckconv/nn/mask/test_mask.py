"""The Gaussian mask: its values, its crops, its gradient where sigma vanishes."""

from __future__ import annotations

import math

import pytest
import torch

from ckconv import ConvConfig, KernelConfig, MaskConfig
from ckconv.nn import FlexConv, GaussianMask
from ckconv.nn.mask import MIN_SIGMA, bounded_sigma


def test_values_are_the_gaussian_s():
    mask = GaussianMask(2, init_value=0.3)
    with torch.no_grad():
        mask.mean.copy_(torch.tensor([0.1, -0.2]))
        mask.sigma.copy_(torch.tensor([0.3, 0.5]))
    axes = [torch.linspace(-1, 1, 7), torch.linspace(-1, 1, 5)]
    values = mask(axes)
    for i, x in enumerate(axes[0]):
        for j, y in enumerate(axes[1]):
            expected = math.exp(-0.5 * (((x - 0.1) / 0.3) ** 2 + ((y + 0.2) / 0.5) ** 2))
            assert values[i, j].item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("n", [1, 2, 9, 33, 100])
@pytest.mark.parametrize("mean", [-1.4, -0.3, 0.0, 0.5, 1.0, 1.7])
@pytest.mark.parametrize("sigma", [0.01, 0.075, 0.4, 3.0])
def test_causal_crop_keeps_from_the_first_sample_over_the_threshold(n, mean, sigma):
    ((start, stop),) = GaussianMask(1).ranges((n,), [mean], [sigma])
    x = torch.linspace(-1, 1, n, dtype=torch.float64)
    over = (torch.exp(-0.5 * ((x - mean) / sigma) ** 2) >= 0.1).nonzero().flatten().tolist()
    assert stop == n and 0 <= start < n
    if over:  # else the mask falls between two samples, or beside all of them
        assert start == over[0]


@pytest.mark.parametrize("n", [1, 3, 17, 33])
@pytest.mark.parametrize("mean", [-0.7, 0.0, 0.2, 2.0])
@pytest.mark.parametrize("sigma", [0.001, 0.075, 0.4, 3.0])
def test_centred_crop_is_odd_symmetric_and_loses_nothing_over_the_threshold(n, mean, sigma):
    ((start, stop), _) = GaussianMask(2).ranges((n, n), [mean, 0.0], [sigma, 1.0])
    assert start == n - stop and (stop - start) % 2 == 1
    x = torch.linspace(-1, 1, n, dtype=torch.float64)
    mask = torch.exp(-0.5 * ((x - mean) / sigma) ** 2)
    outside = torch.cat((mask[:start], mask[stop:]))
    assert (outside < 0.1).all()
    if start > 0 and (mask >= 0.1).any():  # the border itself is over it
        assert max(mask[start], mask[stop - 1]) >= 0.1


def test_ordinary_sigmas_do_not_change():
    sigma = torch.tensor([2 * MIN_SIGMA, 1e-3, 0.075, 1.0, 5.0])
    assert torch.equal(bounded_sigma(sigma), sigma)


def test_bounded_sigma_is_smooth_and_positive():
    sigma = torch.linspace(-1, 4 * MIN_SIGMA, 10001, dtype=torch.float64, requires_grad=True)
    bounded = bounded_sigma(sigma)
    assert (bounded > MIN_SIGMA).all() and (bounded.diff() > 0).all()
    (slope,) = torch.autograd.grad(bounded.sum(), sigma)
    assert slope.isfinite().all() and (slope > 0).all()
    assert torch.autograd.gradcheck(
        bounded_sigma, torch.tensor([2e-4, 1e-4, -3e-4], dtype=torch.float64, requires_grad=True),
        eps=1e-9, atol=1e-3,
    )  # fmt: skip


@pytest.mark.parametrize("dim", [1, 2])
@pytest.mark.parametrize("cropping", [True, False])
@pytest.mark.parametrize("sigma", [1e-3, 1e-5, 1e-12, 0.0, -1e-6, -0.5, -100.0])
def test_gradient_is_finite_whatever_sigma_is(dim, cropping, sigma):
    mask = MaskConfig(dynamic_cropping=cropping)
    layer = FlexConv(2, 3, dim, KernelConfig(), ConvConfig(horizon="33"), mask)
    with torch.no_grad():
        layer.mask.sigma.fill_(sigma)
        layer.mask.mean.add_(1e-9)
    y = layer(torch.randn(2, 2, *[12] * dim))
    y.square().mean().backward()
    assert y.isfinite().all()
    assert all(p.grad.isfinite().all() for p in layer.parameters())


def test_an_optimizer_that_drives_sigma_below_zero_and_back():
    layer = FlexConv(1, 1, 2, KernelConfig(), ConvConfig(horizon="9"), MaskConfig(init_value=0.2))
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
    for direction in (1, -1):
        for _ in range(20):
            optimizer.zero_grad()
            sigma = layer.mask.effective_sigma
            assert (sigma > 0).all()
            (layer(torch.randn(1, 1, 9, 9)).mean() * 0 + direction * sigma.sum()).backward()
            layer.mask.sigma.grad.clamp_(min=-1, max=1)
            with torch.no_grad():
                layer.mask.sigma.grad.copy_(direction * torch.ones(2) * 0.5)
            optimizer.step()
        size = layer.cropped_size()
        assert size == ((1, 1) if direction == 1 else size)
    assert layer.cropped_size() == (3, 3)
