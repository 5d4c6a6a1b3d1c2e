"""From any sigma a mask goes where the loss wants it."""

from __future__ import annotations

import math
from itertools import product

import pytest
import torch
from torch import Tensor

from ckconv import ConvConfig, KernelConfig, MaskConfig
from ckconv.models import FlexNet, FlexTCN
from ckconv.nn import FlexConv, ck, sample_together
from ckconv.nn.mask import MASKS

STARTS = (-1.0, -0.1, 0.0, 1e-4, 0.125, 10.0, 100.0)  # a step is 0.25
MEANS = (1.4, -2.0)
AXES = ((1, True), (1, False), (2, False), (3, False))  # how many, and whether there is time
KINDS = ("gaussian", "exponential")
DECAYS = (0.0, 0.1)
HORIZON = 9

ALL = list(product(STARTS, AXES, KINDS, DECAYS))
SOME = [  # every start, axes, kind and decay, in few trainings
    (sigma, AXES[(n + m) % 4], KINDS[(n + m // 2) % 2], DECAYS[(n // 2 + m) % 2])
    for n, sigma in enumerate(STARTS)
    for m in range(2)
]
CASES = [pytest.param(*c, marks=[] if c in SOME else [pytest.mark.slow]) for c in ALL]


def flexconv(dim: int = 2, kind: str = "gaussian", sigma: float = 0.3, **conv: object) -> FlexConv:
    torch.manual_seed(0)
    kernel = KernelConfig(no_hidden=16, no_layers=1, input_scale=2.0)
    horizon = str(HORIZON if dim < 3 else 5)
    layer = FlexConv(
        1,
        1,
        dim,
        kernel,
        ConvConfig(horizon=horizon, **conv),
        MaskConfig(type=kind, init_value=0.3),
    )
    with torch.no_grad():
        layer.mask.sigma.fill_(sigma)
    return layer


def follow(layer: FlexConv, wanted: Tensor, steps: int = 80, decay: float = 0.0) -> float:
    """Train the layer until its kernel is `wanted` (*size), sigma as fast as it has to go.

    Returns the squared error that is left.
    """
    groups = []
    for name, p in layer.named_parameters():
        far = {"mask.sigma": 15, "mask.mean": 40}.get(name)
        groups.append({"params": [p], "lr": max(0.02, p.abs().max().item() / far if far else 0.0)})
    optimizer = torch.optim.AdamW(groups, weight_decay=decay)
    shrink = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.98)
    middle = HORIZON - 1
    x = torch.zeros(1, 1, *[2 * HORIZON - 1] * layer.dim)  # an impulse, which shows the kernel
    x[(0, 0, *[middle] * layer.dim)] = 1
    target = torch.zeros_like(x)
    before = 0 if layer.causal_axis == 0 else len(wanted) // 2
    span = slice(middle - before, middle - before + len(wanted))
    target[(0, 0, *[span] * layer.dim)] = wanted
    for _ in range(steps):
        loss = (layer(x) - target).square().sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        shrink.step()
    return loss.item()


def wide(dim: int) -> Tensor:
    n = 5 if dim < 3 else 3
    return torch.ones([n] * dim) / math.sqrt(n**dim)


@pytest.mark.parametrize(("sigma", "axes", "kind", "decay"), CASES)
def test_a_loss_that_wants_a_larger_kernel_gets_one(sigma, axes, kind, decay):
    layer = flexconv(axes[0], kind, sigma, causal=axes[1])
    follow(layer, wide(layer.dim), decay=decay)
    assert min(layer.cropped_size()) >= 3


@pytest.mark.parametrize(("sigma", "axes", "kind", "decay"), CASES)
def test_a_loss_that_wants_a_single_sample_gets_that(sigma, axes, kind, decay):
    layer = flexconv(axes[0], kind, sigma, causal=axes[1])
    assert follow(layer, torch.ones([1] * layer.dim), 120, decay=decay) < 0.1


@pytest.mark.parametrize("mean", MEANS)
@pytest.mark.parametrize("axes", AXES[:3])
@pytest.mark.parametrize("sigma", [0.01, 0.125])
def test_a_mean_far_off_comes_back(sigma, axes, mean):
    layer = flexconv(axes[0], sigma=sigma, causal=axes[1])
    with torch.no_grad():
        layer.mask.mean.fill_(mean)
    follow(layer, wide(layer.dim))
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
    ("n", "kept"), [(5, 3), (7, 3), (9, 5), (15, 7), (21, 11), (29, 11), (33, 11), (101, 11)]
)
@pytest.mark.parametrize("kind", MASKS)
def test_auto_keeps_half_of_a_centred_kernel(n, kept, kind):
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
    centres = torch.cat([g.mu for g in layer.generator.filters[:-1]]).abs()
    assert 0.9 * 1.667 * sigma < centres.max() <= 1.667 * sigma * 1.0001
    last, step = layer.generator.filters[-1].mu.abs().amax(0), 2 / 100
    kept = step * torch.tensor(layer.cropped_size()) / 2
    assert (0.5 * kept < last).all() and (last <= kept + 1e-6).all()


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


# ----- the initial kernel --------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["MAGNet", "Gabor", "Fourier"])
@pytest.mark.parametrize("groups", [1, 4])
def test_with_auto_kernels_start_as_varied_as_weights(kind, groups):
    torch.manual_seed(0)
    conv = ConvConfig(horizon="15", groups=groups)
    layer = FlexConv(8, 16, 2, KernelConfig(type=kind), conv)
    kernel = layer.sample_kernel()
    own, samples = 8 // groups, math.prod(kernel.size)
    wanted = 1 / (3 * own * samples)
    assert kernel.dense().square().mean().item() == pytest.approx(wanted, rel=1e-4)
    *functions, mask = kernel.basis.flatten(1)  # the functions under the mask, the mask
    power = torch.stack(functions).square().sum() / mask.square().sum()
    assert power.item() == pytest.approx(1, rel=1e-4)  # a step of Adam: lr under the mask
    values = torch.linalg.svdvals(kernel.dense().detach().flatten(0, 1).flatten(1))
    assert values[3] > 0.2 * values[0]  # 0.06 without: nearly all the mask itself


@pytest.mark.parametrize(("size", "causal"), [((64,), None), ((200,), False), ((21, 13), False)])
def test_with_auto_the_last_filters_share_the_samples_out(size, causal):
    torch.manual_seed(0)
    layer = FlexConv(1, 2, len(size), conv=ConvConfig(causal=causal))
    layer(torch.zeros(1, 1, *size))
    centres = layer.generator.filters[-1].mu.detach()
    crop = layer.mask.crop(layer.kernel_size)
    steps = [2 / (n - 1) for n in layer.kernel_size]
    for axis, ((first, stop), step) in enumerate(zip(crop, steps)):
        low, high = first * step - 1 - step / 2, (stop - 1) * step - 1 + step / 2
        assert low - 1e-5 <= centres[:, axis].min() and centres[:, axis].max() <= high + 1e-5
        thirds = torch.histc(centres[:, axis], 3, low, high)  # under a third of the axis each
        assert thirds.min() >= 4 and thirds.sum() == 32


def test_weights_of_a_number_a_given_generator_and_a_checkpoint_stay_as_they_are():
    torch.manual_seed(0)
    published = FlexConv(1, 4, mask=MaskConfig(init_value=0.25))
    torch.manual_seed(0)
    bare = ck.build(KernelConfig(), 2, 4, 1.667 * 0.25)
    published(torch.zeros(1, 1, 9, 9))
    assert torch.equal(published.generator.output.weight, bare.output.weight)
    before = bare.output.weight.clone()
    FlexConv(1, 4, 2, bare)(torch.zeros(1, 1, 9, 9))
    assert torch.equal(bare.output.weight, before)
    trained, fresh = FlexConv(1, 4), FlexConv(1, 4)
    trained(torch.zeros(1, 1, 9, 9))
    fresh.load_state_dict(trained.state_dict())
    fresh(torch.zeros(1, 1, 9, 9))
    assert torch.equal(fresh.conv_kernel, trained.conv_kernel)
