"""From any sigma a mask goes where the loss wants it."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from ckconv import ConvConfig, KernelConfig, MaskConfig
from ckconv.models import FlexNet, FlexTCN
from ckconv.nn import FlexConv, sample_together
from ckconv.nn.mask import MASKS

STARTS = (-0.1, -0.03, 0.0, 1e-4, 0.125, 1.0, 30.0)  # a step is 0.25
HORIZON = 9


def flexconv(dim: int = 2, kind: str = "gaussian", sigma: float = 0.3, **conv: object) -> FlexConv:
    torch.manual_seed(0)
    kernel = KernelConfig(no_hidden=16, no_layers=1, input_scale=2.0)
    mask = MaskConfig(type=kind, init_value=0.3)
    layer = FlexConv(1, 1, dim, kernel, ConvConfig(horizon=str(HORIZON), **conv), mask)
    with torch.no_grad():
        layer.mask.sigma.fill_(sigma)
    return layer


def follow(layer: FlexConv, wanted: Tensor, steps: int = 80) -> None:
    """Train the layer to convolve as `wanted` (*size) does, sigma as fast as it has to go."""
    far = [p for name, p in layer.named_parameters() if name.startswith("mask.sigma")]
    near = [p for name, p in layer.named_parameters() if not name.startswith("mask.sigma")]
    rate = max(0.02, layer.mask.sigma.abs().max().item() / 40)
    optimizer = torch.optim.Adam([{"params": far, "lr": rate}, {"params": near, "lr": 0.02}])
    shrink = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.98)
    pick = torch.Generator().manual_seed(1)
    conv = {1: torch.conv1d, 2: torch.conv2d}[layer.dim]
    for _ in range(steps):
        x = torch.randn(4, 1, *[12] * layer.dim, generator=pick)
        sides = [side for n in wanted.shape for side in (n - 1, 0) if layer.dim == 1]
        sides = sides or [n // 2 for n in wanted.shape for _ in range(2)]
        target = conv(torch.nn.functional.pad(x, sides), wanted[None, None])
        loss = (layer(x) - target).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        shrink.step()


def wide(dim: int) -> Tensor:
    return torch.ones([5] * dim) / math.sqrt(5**dim)


@pytest.mark.parametrize("sigma", STARTS)
@pytest.mark.parametrize("dim", [1, 2])
def test_a_loss_that_wants_a_larger_kernel_gets_one(dim, sigma):
    layer = flexconv(dim, sigma=sigma)
    follow(layer, wide(dim))
    assert min(layer.cropped_size()) >= 3


@pytest.mark.parametrize("mean", [0.7, 0.37, 0.1])
@pytest.mark.parametrize("dim", [1, 2])
def test_a_narrow_mask_between_samples_is_not_dead(dim, mean):
    layer = flexconv(dim, sigma=0.01)
    with torch.no_grad():
        layer.mask.mean.fill_(mean)
        assert layer.cropped_size() == (1,) * dim
    follow(layer, wide(dim))
    assert min(layer.cropped_size()) >= 3


@pytest.mark.parametrize("kind", MASKS)
@pytest.mark.parametrize("cropping", [True, False])
def test_every_mask_is_revived(kind, cropping):
    layer = flexconv(kind=kind, sigma=-0.03)
    layer.mask.dynamic_cropping = cropping
    follow(layer, wide(2))
    layer.mask.dynamic_cropping = True
    assert min(layer.cropped_size()) >= 3


@pytest.mark.parametrize("sigma", STARTS)
@pytest.mark.parametrize("dim", [1, 2])
def test_a_loss_that_wants_a_single_sample_gets_that(dim, sigma):
    layer = flexconv(dim, sigma=sigma)
    follow(layer, torch.ones([1] * dim))
    with torch.no_grad():
        kernel = layer.sample_kernel().dense().flatten()
    middle = -1 if dim == 1 else len(kernel) // 2
    assert kernel[middle].item() == pytest.approx(1, abs=0.1)
    kernel[middle] = 0
    assert kernel.norm() < 0.2


@pytest.mark.parametrize("dim", [1, 2])
def test_where_a_mean_has_left_a_collapsed_kernel_both_come_back(dim):
    layer = flexconv(dim, sigma=1e-3)
    with torch.no_grad():
        layer.mask.mean.add_(0.05 if dim == 2 else -0.05)  # where the Gaussian is zero
    assert layer.sample_kernel().dense().any()
    follow(layer, wide(dim))
    assert min(layer.cropped_size()) >= 3


def test_one_axis_may_be_alone():
    layer = flexconv()
    with torch.no_grad():
        layer.mask.sigma.copy_(torch.tensor([0.01, 0.3]))
    layer(torch.randn(2, 1, 12, 12)).square().sum().backward()
    assert layer.cropped_size() == (1, 5) and layer.conv_kernel.shape[2:] == (3, 5)
    assert (layer.mask.sigma.grad != 0).all()


@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize("dim", [1, 2])
@pytest.mark.parametrize("sigma", [-0.5, 0.0, 0.01, 0.1])
def test_values_are_those_of_the_single_sample(dim, sigma, padding):
    layer = flexconv(dim, sigma=sigma, padding=padding)
    x = torch.randn(2, 1, *[12] * dim)
    with torch.no_grad():
        alone = layer(x)
        assert layer.conv_kernel.shape[2:] == (1,) * dim
    assert torch.allclose(layer(x), alone, atol=1e-6)


def test_sampled_together_the_neighbours_are_there_too():
    layers = [flexconv(sigma=0.01), flexconv(sigma=0.3)]
    x = torch.randn(1, 1, 12, 12)
    gradients = []
    for together in (False, True):
        for layer in layers:
            layer.zero_grad()
        if together:
            sample_together(layers)
        sum(layer(x).square().sum() for layer in layers).backward()
        gradients.append([p.grad.clone() for layer in layers for p in layer.parameters()])
    assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(*gradients))
    assert (layers[0].mask.sigma.grad != 0).all()


def test_decay_alone_does_not_kill_a_mask():
    layer = flexconv(sigma=0.3)
    decay = torch.optim.AdamW([layer.mask.sigma], lr=0.05, weight_decay=1.0)
    for _ in range(300):
        (layer(torch.randn(1, 1, 12, 12)).sum() * 0).backward()
        decay.step()
        decay.zero_grad()
    assert layer.cropped_size() == (1, 1)
    follow(layer, wide(2))
    assert min(layer.cropped_size()) >= 3


def test_second_derivatives_of_a_single_sample():
    layer = flexconv(sigma=0.01).double()
    x = torch.randn(1, 1, 5, 5, dtype=torch.float64)
    (first,) = torch.autograd.grad(
        layer(x).square().sum(), layer.generator.output.bias, create_graph=True
    )
    first.sum().backward()
    assert layer.generator.output.bias.grad.isfinite().all()


# ----- the initial sigma ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("n", "kept"), [(5, 3), (7, 3), (9, 3), (15, 5), (21, 7), (29, 11), (33, 11), (101, 11)]
)
@pytest.mark.parametrize("kind", MASKS)
def test_auto_keeps_a_third_of_a_centred_kernel(n, kept, kind):
    layer = FlexConv(1, 1, 2, conv=ConvConfig(horizon=str(n)), mask=MaskConfig(type=kind))
    assert layer.cropped_size() == (kept,) * 2
    open_layer = FlexConv(1, 1, 2, mask=MaskConfig(type=kind))
    open_layer(torch.zeros(1, 1, n, n))
    assert torch.equal(open_layer.mask.sigma, layer.mask.sigma)


def test_a_number_is_kept_and_auto_only_fits_masks_that_nobody_has_touched():
    given = FlexConv(1, 1, 2, conv=ConvConfig(horizon="33"), mask=MaskConfig(init_value=0.075))
    assert torch.equal(given.mask.sigma, torch.full((2,), 0.075))
    trained = FlexConv(1, 1, 2)
    with torch.no_grad():
        trained.mask.sigma.fill_(0.2)  # as an average of weights, or a published file
    trained(torch.zeros(1, 1, 21, 21))
    assert torch.equal(trained.mask.sigma, torch.full((2,), 0.2))


def test_the_filters_centres_lie_under_the_mask():
    layer = FlexConv(1, 1, 2, conv=ConvConfig(horizon="101"))
    sigma = layer.mask.sigma.max().item()
    centres = torch.cat([g.mu for g in layer.generator.filters]).abs()
    assert 0.9 * 1.667 * sigma < centres.max() <= 1.667 * sigma * 1.0001


@pytest.mark.parametrize("length", [50, 300, 1000])
@pytest.mark.parametrize("kind", [FlexNet, FlexTCN])
def test_the_layers_of_a_sequence_s_network_together_see_the_sequence(kind, length):
    model = FlexNet(1, 2, 1) if kind is FlexNet else FlexTCN(1, 2)
    model(torch.zeros(2, 1, length))
    seen = [m.cropped_size()[0] - 1 for m in model.modules() if isinstance(m, FlexConv)]
    assert 1.8 * length < sum(seen) < 2.2 * length
    x = torch.randn(1, 1, length, requires_grad=True)
    model.eval()(x).sum().backward()
    assert (x.grad[0, 0] != 0).all()
