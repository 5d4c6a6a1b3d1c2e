"""Depthwise convolutions by transforms: in runs of channels and samples, and an axis at a time."""

from __future__ import annotations

import pytest
import torch

import ckconv.functional as F
from ckconv.functional.spectral import depthwise
from ckconv.functional.spectral.frames import Frames, shorter_length, whole_frames
from ckconv.functional.spectral.turned import Turned

CASES = {  # x, kernel, and other arguments
    "sequence": ((3, 5, 20), (5, 1, 7), {"causal": True}),
    "two kernels a channel": ((3, 4, 9, 8), (8, 1, 5, 3), {}),
    "circular": ((3, 4, 9, 8), (4, 1, 5, 3), {"padding_mode": ("circular", "zeros")}),
    "strides": ((3, 5, 9, 8), (5, 1, 4, 3), {"stride": 2, "padding": 2, "dilation": (1, 2)}),
    "volume": ((2, 3, 5, 4, 6), (3, 1, 3, 3, 5), {"causal": True, "causal_axis": 1}),
}


@pytest.mark.parametrize("last", [False, True], ids=["contiguous", "channels-last"])
@pytest.mark.parametrize("at_once", [1, 400, 1 << 19])
@pytest.mark.parametrize("name", CASES)
def test_in_runs_of_any_length(name, at_once, last, monkeypatch):
    monkeypatch.setitem(depthwise._AT_ONCE, "cpu", at_once)
    torch.manual_seed(0)
    shape, kernel, how = CASES[name]
    x, k = torch.randn(shape).double(), torch.randn(kernel).double()
    if last and len(shape) > 3:
        formats = {4: torch.channels_last, 5: torch.channels_last_3d}
        x = x.contiguous(memory_format=formats[len(shape)])
    leaves = [x.requires_grad_(), k.requires_grad_()]
    found = []
    for backend in ("fft", "direct"):
        y = F.conv(x, k, None, backend=backend, groups=shape[1], **how)
        found.append((y, *torch.autograd.grad(y.sin().sum(), leaves)))
    for ours, expected in zip(*found):
        torch.testing.assert_close(ours, expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("size", [(9,), (9, 8), (5, 4, 6)])
def test_an_axis_at_a_time_is_all_axes_at_once(size):
    torch.manual_seed(0)
    dim = len(size)
    frames = whole_frames(size, (3,) * dim, [(1, 1)] * dim, fast=shorter_length)
    x, kernel = torch.randn(2, 3, *size).double(), torch.randn(3, 2, *[3] * dim).double()
    turned, together = Turned(frames, together=False), Turned(frames, together=True)
    order = [*range(dim)][-1:] + [*range(dim - 1)][::-1]  # the last axis in front, the first last
    for ours, expected in (
        (turned.inputs(x), together.inputs(x)),
        (turned.kernels(kernel), together.kernels(kernel)),
    ):
        lead = ours.ndim - dim
        expected = expected.permute(*range(lead), *(lead + axis for axis in order))
        torch.testing.assert_close(ours, expected)
    for turn in (turned, together):
        torch.testing.assert_close(turn.inputs_back(turn.inputs(x)[:, :, :, 0], size), x)
        torch.testing.assert_close(turn.kernels_back(turn.kernels(kernel), (3,) * dim), kernel)


def test_frames_of_sequences_are_put_together_again():
    frames = whole_frames((50,), (5,), [(4, 0)]).cut(16, 5, (4,))
    assert isinstance(frames, Frames) and frames.count > 1
    torch.manual_seed(0)
    x, kernel = torch.randn(2, 3, 50).double(), torch.randn(6, 1, 5).double()
    with F.using(frames=16):
        y = F.conv(x, kernel, None, True, "fft", groups=3)
    expected = F.conv(x, kernel, None, True, "direct", groups=3)
    torch.testing.assert_close(y, expected, rtol=1e-10, atol=1e-10)


def test_lengths_are_short_and_even():
    assert [shorter_length(n) for n in (1, 2, 11, 13, 33, 64, 65, 99, 113)] == [
        *(2, 2, 12, 14, 36, 64, 72, 112, 120)
    ]
