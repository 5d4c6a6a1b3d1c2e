"""What goes into the convolution: dtypes, empty and non-finite inputs; and its derivatives."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as nnf
from torch.autograd import gradcheck, gradgradcheck
from torch.func import functional_call, grad, hessian, jacfwd, jacrev, jvp, vmap

import ckconv.functional as F
from ckconv.errors import UsageError

BACKENDS = ("direct", "fft")
FORMS = ("written out", "factored")
CASES = {  # arguments, and the shapes of weights (O, C / groups, H), functions and input
    "causal": ({"causal": True}, (2, 2, 3), (3, 5), (2, 2, 6)),
    "groups": ({"groups": 2, "stride": 2}, (4, 2, 3), (3, 3, 3), (2, 4, 4, 5)),
    "depthwise": ({"groups": 3, "padding_mode": "circular"}, (6, 1, 2), (2, 3, 5), (2, 3, 4, 5)),
    "volumes": ({"dilation": 2}, (2, 1, 2), (2, 2, 1, 3), (1, 1, 3, 2, 4)),
}


def make_case(name):
    torch.manual_seed(0)
    given, weight, basis, x = CASES[name]
    tensors = [torch.randn(*shape, dtype=torch.float64) for shape in (weight, basis, x)]
    return given, [tensor.requires_grad_() for tensor in tensors]


def function_of(given, form, backend):
    def convolve(weight, basis, x):
        kernel = F.FactoredKernel(weight, basis)
        kernel = kernel if form == "factored" else kernel.dense()
        return F.conv(x, kernel, None, backend=backend, **given)

    return convolve


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", CASES)
def test_second_derivatives_by_fft(name, form):
    given, leaves = make_case(name)
    convolve = function_of(given, form, "fft")
    assert gradcheck(convolve, leaves, check_forward_ad=True, fast_mode=True)
    assert gradgradcheck(convolve, leaves, fast_mode=True)


@pytest.mark.parametrize("name", CASES)
def test_a_gradient_penalty_is_the_direct_convolutions(name):
    """Third derivatives in effect: the penalty's own gradient is taken twice more."""
    found = []
    for backend in BACKENDS:
        given, leaves = make_case(name)
        leaves = [leaf.detach().mul(0.3).requires_grad_() for leaf in leaves]
        y = function_of(given, "factored", backend)(*leaves)
        slope = torch.autograd.grad(y.sin().sum(), leaves, create_graph=True)
        penalty = sum(part.square().sum() for part in slope)
        slope = torch.autograd.grad(penalty, leaves, create_graph=True)
        found.append(torch.autograd.grad(sum(part.sin().sum() for part in slope), leaves))
    for direct, spectral in zip(*found):
        assert direct.abs().max() > 0
        torch.testing.assert_close(spectral, direct, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", CASES)
def test_torch_func_goes_through(name, form):
    given, (weight, basis, x) = make_case(name)
    weight, basis, x = (t.detach() for t in (weight, basis, x))
    weights = torch.stack((weight, 2 * weight, weight.cos()))
    tangents = [torch.randn_like(t) for t in (weight, basis, x)]

    def results(convolve):
        def loss(weight, sample):
            return convolve(weight, basis, sample[None]).square().sum()

        yield vmap(convolve, (None, None, 0))(weight, basis, torch.stack((x, x.sin())))
        yield vmap(convolve, (0, None, None))(weights, basis, x)
        yield from jvp(convolve, (weight, basis, x), tuple(tangents))
        yield jacrev(convolve, 1)(weight, basis, x)
        yield jacfwd(convolve, 2)(weight, basis, x)
        yield vmap(grad(loss), (None, 0))(weight, x)  # per-sample gradients
        yield hessian(loss)(weight, x[0])

    ours, theirs = (results(function_of(given, form, backend)) for backend in ("fft", "direct"))
    for own, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(own, other, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_nothing_passes_a_causal_convolution_backwards(value, form, backend):
    torch.manual_seed(0)
    kernel = F.FactoredKernel(torch.randn(3, 2, 4), torch.randn(4, 40))
    kernel = kernel if form == "factored" else kernel.dense()
    x = torch.randn(2, 2, 4000)
    clean = F.conv(x, kernel, None, True, backend)
    x[1, 0, 100] = value
    y = F.conv(x, kernel, None, True, backend)
    torch.testing.assert_close(y[0], clean[0])
    torch.testing.assert_close(y[1, :, :100], clean[1, :, :100], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(y[1, :, 140:], clean[1, :, 140:], rtol=1e-4, atol=1e-4)
    assert not torch.isfinite(y[1, :, 100:140]).any()


@pytest.mark.parametrize(
    "given",
    [
        {"padding_mode": "circular"},
        {"padding_mode": "reflect", "stride": 2},
        {"causal": True, "causal_axis": 1},
        {"groups": 4},
        {"padding": 1},
    ],
    ids=str,
)
@pytest.mark.parametrize("form", FORMS)
def test_a_pixel_that_is_not_finite_reaches_what_its_kernel_does(form, given):
    torch.manual_seed(0)
    kernel = F.FactoredKernel(torch.randn(4, 4 // given.get("groups", 1), 3), torch.randn(3, 5, 3))
    kernel = kernel if form == "factored" else kernel.dense()
    x = torch.randn(2, 4, 12, 15)
    x[0, :, 2, 13] = math.nan
    spectral, direct = (
        F.conv(x, kernel, backend=backend, **given) for backend in ("fft", "direct")
    )
    torch.testing.assert_close(spectral, direct, rtol=1e-4, atol=1e-4, equal_nan=True)
    within = vmap(lambda sample: F.conv(sample, kernel, backend="fft", **given))(x)
    torch.testing.assert_close(within, spectral, equal_nan=True)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("k", [3, 5, 17, 63])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_every_dtype_at_every_kernel_size(dtype, k, form, backend):
    torch.manual_seed(0)
    weight, basis = torch.randn(3, 2, 4) / 4, torch.randn(4, k) / k
    x, bias = torch.randn(2, 2, 70), torch.randn(3)
    expected = F.conv(x.double(), F.FactoredKernel(weight.double(), basis.double()), bias.double())
    kernel = F.FactoredKernel(weight.to(dtype), basis.to(dtype))
    kernel = kernel if form == "factored" else kernel.dense()
    y = F.conv(x.to(dtype), kernel, bias.to(dtype), backend=backend)
    assert y.dtype == dtype
    error = (y.double() - expected).norm() / expected.norm()
    assert error < 4 * torch.finfo(dtype).eps if dtype != torch.float64 else error < 1e-7


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("form", FORMS)
def test_complex_inputs_are_right(form, backend):
    given, (weight, basis, x) = make_case("groups")
    x = torch.complex(x, x.cos()).detach()
    y = function_of(given, form, backend)(weight, basis, x)
    dense = F.FactoredKernel(weight, basis).dense()
    expected = nnf.conv2d(x, dense.to(x.dtype), padding=1, stride=2, groups=2)
    torch.testing.assert_close(y, expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("backend", BACKENDS)
def test_empty_batches_and_single_samples(backend, form):
    for name in CASES:
        given, (weight, basis, x) = make_case(name)
        convolve = function_of(given, form, backend)
        y = convolve(weight, basis, x)
        torch.testing.assert_close(convolve(weight, basis, x[0]), y[0])
        none = convolve(weight, basis, x[:0])
        assert none.shape == (0, *y.shape[1:])
        none.sum().backward()
        assert not weight.grad.any()


def test_what_no_convolution_takes_is_refused():
    kernel = torch.randn(4, 3, 3)
    whole = torch.full((2, 3, 8), 200, dtype=torch.uint8)
    with pytest.raises(RuntimeError, match="uint8.*floating-point"):
        F.conv(whole, kernel, backend="fft")
    with pytest.raises(TypeError, match="ndarray.*torch.Tensor"):
        F.conv(np.ones((2, 3, 8)), kernel)
    with pytest.raises(TypeError, match="ndarray.*torch.Tensor"):
        F.conv(torch.ones(2, 3, 8), kernel.numpy())
    with pytest.raises(ValueError, match=r"\(2, 3, 0\) is empty"):
        F.conv(torch.ones(2, 3, 0), kernel)
    with pytest.raises(RuntimeError, match="complex64"):
        F.conv(torch.ones(2, 3, 8), kernel.to(torch.complex64))


@pytest.mark.parametrize(
    "given, sentence",
    [
        ({"stride": 0}, "stride=0"),
        ({"stride": (1, 2)}, "stride=.*one for all axes"),
        ({"dilation": 1.5}, "dilation=1.5"),
        ({"padding": -1}, "padding=-1"),
        ({"padding": "full"}, "padding=full"),
        ({"padding": 1, "causal": True}, "padding=1.*future"),
        ({"padding_mode": "mirror"}, "padding_mode=mirror"),
        ({"groups": 2}, "groups=2.*3 input"),
        ({"causal": True, "causal_axis": 1}, "causal_axis=1"),
    ],
)
def test_arguments_out_of_range_are_named(given, sentence):
    with pytest.raises(UsageError, match=sentence):
        F.conv(torch.ones(2, 3, 8), torch.ones(4, 3, 3), **given)


def test_parameters_of_a_module_can_be_mapped_over():
    """As in ensembles: one input, many sets of parameters."""

    class Layer(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.randn(3, 2, 4))
            self.basis = torch.nn.Parameter(torch.randn(4, 9))

        def forward(self, x):
            return F.conv(x, F.FactoredKernel(self.weight, self.basis), None, True, "fft")

    torch.manual_seed(0)
    layers = [Layer().double() for _ in range(3)]
    stacked, _ = torch.func.stack_module_state(layers)
    x = torch.randn(2, 2, 20, dtype=torch.float64)
    y = vmap(lambda p: functional_call(layers[0], p, (x,)))(stacked)
    torch.testing.assert_close(y, torch.stack([layer(x) for layer in layers]))
