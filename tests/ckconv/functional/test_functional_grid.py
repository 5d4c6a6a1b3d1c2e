"""The convolution against PyTorch's own, over its arguments: values and gradients in float64."""

from __future__ import annotations

import itertools
import random

import pytest
import torch
import torch.nn.functional as nnf

import ckconv.functional as F

CONV = {1: nnf.conv1d, 2: nnf.conv2d, 3: nnf.conv3d}
MODES = ("zeros", "circular", "reflect", "replicate")
BACKENDS = ("direct", "fft")
FUNCTIONS = 3


def extended(x, pads, modes):
    """x with the padding of each axis, as PyTorch writes it out."""
    dim = x.ndim - 2
    for axis, ((before, after), mode) in enumerate(zip(pads, modes)):
        sides = [0] * (2 * dim)
        last = 2 * (dim - 1 - axis)
        sides[last : last + 2] = before, after
        if mode == "zeros":
            x = nnf.pad(x, sides)
        elif before or after:
            moved = x.movedim(2 + axis, -1)
            flat = moved.flatten(0, -3) if moved.ndim > 2 else moved
            flat = nnf.pad(flat, (before, after), mode=mode)
            x = flat.view(*moved.shape[:-1], -1).movedim(-1, 2 + axis)
    return x


def check(size, batch, channels, out, groups, kernel_size, pads, given, factored, *backends):
    """Compare values and gradients; `given` are the arguments of ours beside the tensors."""
    dim = len(size)
    x = torch.randn(batch, channels, *size, dtype=torch.float64)
    weight = torch.randn(out, channels // groups, FUNCTIONS, dtype=torch.float64)
    basis = torch.randn(FUNCTIONS, *kernel_size, dtype=torch.float64)
    bias = torch.randn(out, dtype=torch.float64)
    leaves = [leaf.requires_grad_() for leaf in (x, weight, basis, bias)]
    modes = given.get("padding_mode", "zeros")
    modes = (modes,) * dim if isinstance(modes, str) else modes
    expected = CONV[dim](
        extended(x, pads, modes),
        F.FactoredKernel(weight, basis).dense(),
        bias,
        stride=given.get("stride", 1),
        dilation=given.get("dilation", 1),
        groups=groups,
    )
    grad = torch.randn_like(expected)
    gradients = torch.autograd.grad(expected, leaves, grad)
    for backend in backends:
        kernel = F.FactoredKernel(weight, basis)
        kernel = kernel if factored else kernel.dense()
        y = F.conv(x, kernel, bias, backend=backend, groups=groups, **given)
        assert y.shape == expected.shape
        torch.testing.assert_close(y, expected, rtol=1e-10, atol=1e-10)
        for ours, theirs in zip(torch.autograd.grad(y, leaves, grad), gradients):
            torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10)


def numbers_or_words(padding, kernel_size, dilation, causal_axis):
    """The samples on both sides of each axis that a `padding` argument means."""
    sides = []
    for axis, (k, d) in enumerate(zip(kernel_size, dilation)):
        total = d * (k - 1)
        entry = padding if isinstance(padding, int | str) else padding[axis]
        if entry == "same":
            sides.append((total, 0) if axis == causal_axis else (total // 2, total - total // 2))
        else:
            sides.append((0, 0) if entry == "valid" else (entry, entry))
    return sides


FFT_CONV_PYTORCH = list(
    itertools.product((2, 3), (2, 3), (1, 2, 3), (2, 3), (0, 1, "same"), (1, 2), (1, 2), (7, 8))
)


@pytest.mark.parametrize("dim", (1, 2, 3))
def test_the_grid_of_fft_conv_pytorch(dim):
    """Its channels, groups, kernel sizes, paddings, strides, dilations and sizes, both ways."""
    draw = random.Random(dim)
    torch.manual_seed(0)
    for channels, out, groups, k, padding, stride, dilation, n in FFT_CONV_PYTORCH:
        if channels % groups or out % groups:
            continue
        given = {"padding": padding, "stride": stride, "dilation": dilation}
        pads = numbers_or_words(padding, (k,) * dim, (dilation,) * dim, None)
        factored = draw.random() < 0.5
        check((n,) * dim, 1, channels, out, groups, (k,) * dim, pads, given, factored, *BACKENDS)


def drawn_case(draw, dim):
    """Arguments of one convolution, at random, and what they pad."""
    size = [draw.randint(1, (30, 12, 6)[dim - 1]) for _ in range(dim)]
    kernel_size = [draw.choice((1, 2, 3, 4, 5, n, n + 1, 2 * n - 1)) for n in size]
    dilation = [draw.choice((1, 1, 2, 3)) for _ in range(dim)]
    stride = [draw.choice((1, 1, 2, 3)) for _ in range(dim)]
    modes = [draw.choice(MODES) for _ in range(dim)]
    causal = draw.random() < 0.3
    axis = draw.randrange(dim) if causal else None
    padding = [
        draw.choice(("same", "same") if i == axis else ("same", 0, 1, n + 3))
        for i, n in enumerate(size)
    ]
    pads = numbers_or_words(padding, kernel_size, dilation, axis)
    for i, (n, k, d) in enumerate(zip(size, kernel_size, dilation)):
        limit = {"zeros": 10**6, "replicate": 10**6, "circular": n, "reflect": n - 1}
        modes[i] = modes[i] if max(pads[i]) <= limit[modes[i]] else "zeros"  # PyTorch's limits
        if n + sum(pads[i]) <= d * (k - 1):
            return None
    given = {"padding": padding, "stride": stride, "dilation": dilation, "padding_mode": modes}
    if causal:
        given |= {"causal": True, "causal_axis": axis}
    return size, kernel_size, pads, given


@pytest.mark.parametrize("dim", (1, 2, 3))
def test_arguments_at_random(dim):
    draw = random.Random(dim)
    torch.manual_seed(dim)
    done = 0
    while done < 120:
        case = drawn_case(draw, dim)
        if case is None:
            continue
        size, kernel_size, pads, given = case
        groups = draw.choice((1, 2, 4))
        channels, out = groups * draw.choice((1, 1, 2)), groups * draw.choice((1, 2))
        factored, backend = draw.random() < 0.5, draw.choice((*BACKENDS, "fft", "auto"))
        check(size, 2, channels, out, groups, kernel_size, pads, given, factored, backend)
        done += 1
