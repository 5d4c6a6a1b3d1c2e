"""Circular padding that is written out, and its derivatives of any order."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as nnf
from torch.func import grad, jvp, vmap

import ckconv.functional as F
from ckconv.functional.spectral.frames import whole_frames
from ckconv.functional.spectral.turned import Turned
from ckconv.functional.wrapping import wrapped

SIDES = [(2, 0), (3, 5), (7, 7)]


@pytest.mark.parametrize(("before", "after"), SIDES)
@pytest.mark.parametrize("axis", [2, 3])
def test_it_is_pytorch_s_padding(axis, before, after):
    x = torch.randn(1, 2, 7, 7, dtype=torch.float64, requires_grad=True)
    sides = [before, after, 0, 0] if axis == 3 else [0, 0, before, after]
    expected = nnf.pad(x, sides, mode="circular")
    y = wrapped(x, axis, before, after)
    assert torch.equal(y, expected)
    g = torch.randn_like(y)
    torch.testing.assert_close(*(torch.autograd.grad(z, x, g)[0] for z in (y, expected)))
    assert torch.autograd.gradcheck(lambda x: wrapped(x, axis, before, after), x)
    assert torch.autograd.gradgradcheck(lambda x: wrapped(x, axis, before, after), x)


def test_it_is_mapped_and_differentiated_forward():
    x = torch.randn(4, 3, 6, dtype=torch.float64)

    def f(x):
        return wrapped(x[None], 2, 2, 4)[0].pow(3).sum()

    each = vmap(grad(f))(x)
    torch.testing.assert_close(each, torch.stack([grad(f)(one) for one in x]))
    _, along = jvp(f, (x[0],), (x[1],))
    torch.testing.assert_close(along, (grad(f)(x[0]) * x[1]).sum())


@pytest.mark.parametrize("backend", ["direct", "fft"])
def test_images_that_lie_channels_last_stay_so(backend):
    x = torch.randn(2, 4, 19, 19).to(memory_format=torch.channels_last).requires_grad_()
    y = F.conv(x, torch.randn(4, 1, 5, 5), groups=4, padding_mode="circular", backend=backend)
    (grad_x,) = torch.autograd.grad(y.sum(), x)
    for z in (y, grad_x):
        assert z.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(("n", "wraps"), [(32, True), (34, True), (62, False), (97, False)])
def test_sizes_whose_transform_would_be_slow_are_extended(n, wraps):
    frames = whole_frames((n,), (9,), ((4, 4),), circular=(0,))
    assert (frames.lengths == (n,)) == wraps == (frames.wrap == (4,))
    assert frames.extension == ((0, 0) if wraps else (4, 4),)
    assert frames.wrapped == (0,)


@pytest.mark.parametrize("groups", [1, 4])
@pytest.mark.parametrize("frame", [0, 64])
def test_a_sequence_is_extended_in_one_piece_or_many(groups, frame):
    x = torch.randn(2, 4, 97, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(4, 4 // groups, 3, dtype=torch.float64)
    kernel = F.FactoredKernel(weight, torch.randn(3, 30, dtype=torch.float64))
    given = {"groups": groups, "padding_mode": "circular", "padding": "same"}
    expected = F.conv(x, kernel, backend="direct", **given)
    with F.using(frames=frame):
        y = F.conv(x, kernel, backend="fft", **given)
    torch.testing.assert_close(y, expected)
    g = torch.randn_like(y)
    torch.testing.assert_close(*(torch.autograd.grad(z, x, g)[0] for z in (y, expected)))


def test_axes_are_extended_together_too():
    """As on GPUs, in one transform of all axes."""
    frames = whole_frames((19, 34, 23), (5, 3, 4), ((2, 2), (1, 1), (1, 2)), circular=(0, 1, 2))
    x = torch.randn(2, 3, 19, 34, 23, dtype=torch.float64)
    turned, whole = (Turned(frames, together) for together in (False, True))
    x_hat, at_once = turned.inputs(x), whole.inputs(x)
    y_hat = at_once * torch.randn(at_once.shape[-3:], dtype=torch.float64)
    torch.testing.assert_close(x_hat.transpose(-3, -1), at_once)
    expected = whole.inputs_back(y_hat[:, :, :, 0], (19, 34, 23))
    back = turned.inputs_back(y_hat[:, :, :, 0].transpose(-3, -1), (19, 34, 23))
    torch.testing.assert_close(back, expected)
