"""Derivatives of a layer: of second order, and through `torch.func`, by both backends."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.autograd import gradcheck, gradgradcheck
from torch.func import functional_call, grad, jacrev, jvp, stack_module_state, vmap

from ckconv import FlexConv1d, FlexConv2d, KernelConfig, SepFlexConv1d, SepFlexConv2d

BACKENDS = ("True", "False")
TINY = KernelConfig(no_hidden=3, no_layers=1, input_scale=2.0)
LAYERS = {
    "dense": (2, lambda **k: FlexConv2d(2, 2, 5, **k)),
    "grouped": (2, lambda **k: FlexConv2d(2, 2, 5, 2, groups=2, **k)),
    "separable": (2, lambda **k: SepFlexConv2d(2, 3, 5, padding_mode="circular", **k)),
    "causal": (1, lambda **k: FlexConv1d(2, 2, 7, **k)),
    "depthwise": (1, lambda **k: SepFlexConv1d(2, 2, 7, **k)),
}
every = pytest.mark.parametrize(
    ("name", "use_fft"), [(name, use_fft) for name in LAYERS for use_fft in BACKENDS]
)


def make(name, use_fft, batch=2):
    torch.manual_seed(0)
    dim, layer = LAYERS[name]
    layer = layer(generator=TINY, sigma=0.8, use_fft=use_fft, dtype=torch.float64)
    return layer, torch.randn(batch, 2, *[5, 4][:dim], dtype=torch.float64)


def call(layer, parameters, x):
    return functional_call(layer, parameters, (x,))


@every
def test_second_derivatives(name, use_fft):
    layer, x = make(name, use_fft, batch=1)
    names = [n for n, _ in layer.named_parameters()]
    values = tuple(p.detach().requires_grad_() for p in layer.parameters())

    def forward(x, *values):
        return call(layer, dict(zip(names, values)), x)

    inputs = (x.requires_grad_(), *values)
    assert gradcheck(forward, inputs, fast_mode=True)
    assert gradgradcheck(forward, inputs, fast_mode=True)


@every
def test_a_penalty_on_gradients_reaches_the_weights(name, use_fft):
    layer, x = make(name, use_fft)
    (g,) = torch.autograd.grad(layer(x.requires_grad_()).square().sum(), x, create_graph=True)
    g.square().sum().backward()
    no_part = ("bias", "channel_mixer.bias")  # a sum's gradient does not know the bias's square
    for name, parameter in layer.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0 or name in no_part


@every
def test_vmap_over_inputs(name, use_fft):
    layer, x = make(name, use_fft, batch=3)
    torch.testing.assert_close(vmap(layer)(x), layer(x))
    torch.testing.assert_close(vmap(layer)(x[:, None]), layer(x)[:, None])


@every
def test_vmap_over_parameters(name, use_fft):
    layers = [make(name, use_fft)[0] for _ in range(3)]
    x = make(name, use_fft)[1]
    for i, layer in enumerate(layers):
        layer.generator.output.weight.data.mul_(i + 1)
        layer.mask.dynamic_cropping = False  # each would crop to a size of its own
    parameters, buffers = stack_module_state(layers)

    def one(parameters, buffers, x):
        return functional_call(layers[0], (parameters, buffers), (x,))

    found = vmap(one, in_dims=(0, 0, None))(parameters, buffers, x)
    torch.testing.assert_close(found, torch.stack([layer(x) for layer in layers]))


@every
def test_a_gradient_per_sample(name, use_fft):
    layer, x = make(name, use_fft, batch=3)
    parameters = {n: p.detach() for n, p in layer.named_parameters()}

    def loss(parameters, one):
        return call(layer, parameters, one[None]).square().sum()

    found = vmap(grad(loss), in_dims=(None, 0))(parameters, x)
    for i in range(3):
        layer.zero_grad()
        layer(x[i : i + 1]).square().sum().backward()
        for n, p in layer.named_parameters():
            torch.testing.assert_close(found[n][i], p.grad)


@every
def test_forward_and_reverse_jacobians(name, use_fft):
    layer, x = make(name, use_fft, batch=1)
    jacobian = jacrev(layer)(x)
    v = torch.randn_like(x)
    y, along = jvp(layer, (x,), (v,))
    torch.testing.assert_close(y, layer(x))
    torch.testing.assert_close(along, torch.tensordot(jacobian, v, v.ndim))
    parameters = {n: p.detach() for n, p in layer.named_parameters()}
    directions = {n: torch.randn_like(p) for n, p in parameters.items()}
    _, along = jvp(lambda p: call(layer, p, x), (parameters,), (directions,))
    step = 1e-6
    sides = [
        call(layer, {n: p + s * step * directions[n] for n, p in parameters.items()}, x)
        for s in (1, -1)
    ]
    torch.testing.assert_close(along, (sides[0] - sides[1]) / (2 * step), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("use_fft", BACKENDS)
def test_mapping_a_mask_that_crops_names_the_setting(use_fft):
    layers = [make("dense", use_fft)[0] for _ in range(2)]
    parameters, _ = stack_module_state(layers)
    x = make("dense", use_fft)[1]
    with pytest.raises(ValueError, match="dynamic_cropping=False"):
        vmap(lambda p: call(layers[0], p, x))(parameters)
    layers[1].set_resolution(2)
    layers[0].mask.dynamic_cropping = False
    parameters, buffers = stack_module_state(layers)
    with pytest.raises(ValueError, match=r"different sizes, \[\[5, 5\], \[9, 9\]\]"):
        vmap(lambda p, b: functional_call(layers[0], (p, b), (x,)))(parameters, buffers)


@pytest.mark.parametrize("use_fft", BACKENDS)
def test_a_step_of_a_step(use_fft):
    """Learning to learn: the gradient through an optimizer's step, against differences."""
    layer, x = make("causal", use_fft)
    target = torch.randn_like(layer(x))
    names = [n for n, _ in layer.named_parameters()]
    start = [p.detach().clone().requires_grad_() for p in layer.parameters()]

    def outer(values):
        inner = (call(layer, dict(zip(names, values)), x) - target).square().mean()
        grads = torch.autograd.grad(inner, values, create_graph=True)
        moved = {n: v - 0.1 * g for n, v, g in zip(names, values, grads)}
        return (call(layer, moved, x) - target).square().mean()

    directions = [torch.randn_like(v) for v in start]
    grads = torch.autograd.grad(outer(start), start)
    along = sum((g * d).sum() for g, d in zip(grads, directions))
    sides = [
        outer([(v + s * 1e-6 * d).detach().requires_grad_() for v, d in zip(start, directions)])
        for s in (1, -1)
    ]
    torch.testing.assert_close(along, (sides[0] - sides[1]) / 2e-6, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("use_fft", BACKENDS)
def test_lbfgs(use_fft):
    layer, x = make("causal", use_fft)
    target = copy.deepcopy(layer)(x).detach() + 0.1 * torch.randn(2, 2, 5, dtype=torch.float64)
    optimizer = torch.optim.LBFGS(layer.parameters(), max_iter=10, line_search_fn="strong_wolfe")

    def closure():
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(layer(x), target)
        loss.backward()
        return loss

    first = closure().item()
    optimizer.step(closure)
    assert closure().item() < 0.8 * first
