"""Convolution of images by products of matrices, over tiles: equal to the direct one."""

from __future__ import annotations

import itertools
from unittest import mock

import pytest
import torch

import ckconv.functional as F
from ckconv.functional.geometry import make_geometry
from ckconv.functional.kernel import Spectra
from ckconv.functional.spectral import products
from ckconv.functional.spectral.frames import Frames
from ckconv.functional.spectral.tiles import Tiles
from ckconv.functional.spectral.tiling import best_tiles, best_way
from ckconv.functional.ways import Ways

GRID = [
    case
    for number, case in enumerate(
        itertools.product(
            ((9, 7), (32, 20), (70, 65)),
            ((1, 1), (3, 5), (4, 2), (9, 11)),
            (1, 2),
            (1, 2),
            ("same", "valid", 3),
            ("zeros", "circular", "reflect", ("circular", "zeros")),
        )
    )
    if number % 13 == 0
]


SMALL = ((1, 1, 4, 3), (2, 1, 2), (2, 3, 2))  # an input, weights, functions


def leaves(size, kernel, dtype, batch=2):
    torch.manual_seed(0)
    x = torch.randn(batch, 3, *size, dtype=torch.float64)
    weight, basis = torch.randn(4, 3, 5, dtype=torch.float64), torch.randn(5, *kernel).double()
    return [t.to(dtype).requires_grad_() for t in (x, weight, basis)]


def run(tensors, backend, *how, **named):
    x, weight, basis = tensors
    bias = torch.arange(4.0).to(x.dtype)
    y = F.conv(x, F.FactoredKernel(weight, basis), bias, False, backend, *how, **named)
    torch.manual_seed(1)
    grad = torch.randn(y.shape, dtype=torch.float64)
    return y, *torch.autograd.grad(y, tensors, grad.to(y.dtype))


@pytest.mark.parametrize(("dtype", "bound"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
def test_values_and_gradients_are_those_of_a_direct_convolution(dtype, bound):
    tried = 0
    for size, kernel, dilation, stride, padding, mode in GRID:
        geometry = {"stride": stride, "padding": padding, "dilation": dilation}
        geometry["padding_mode"] = mode
        try:
            expected = run(leaves(size, kernel, torch.float64), "direct", **geometry)
        except ValueError:  # a valid convolution of a kernel larger than the input
            continue
        original = products.by_products
        with (
            F.using(tiles=True),
            mock.patch("ckconv.functional.spectral.factored.by_products", wraps=original) as calls,
        ):
            found = run(leaves(size, kernel, dtype), "fft", **geometry)
        assert calls.called
        for a, b in zip(found, expected):
            assert a.shape == b.shape
            assert (a - b).abs().max() <= bound * b.abs().max(), (size, kernel, geometry)
        tried += 1
    assert tried > 30


@pytest.mark.parametrize("tile", [6, 7, 11])
def test_tiles_of_any_length_give_the_same(tile):
    x, weight, basis = leaves((17, 13), (5, 3), torch.float64)
    geometry = make_geometry((17, 13), (5, 3), 1, 1, "same", "zeros", None)
    steps = tile - 4, tile - 2
    count = tuple(-(-n // step) for n, step in zip((17, 13), steps))
    tiles = Tiles((tile, tile), count, steps, (tile, tile), (2, 1), (0, 0), (17, 13))
    found = products.by_products(x, F.FactoredKernel(weight, basis), tiles, geometry.dilation)
    expected = F.conv(x, F.FactoredKernel(weight, basis), backend="direct")
    assert torch.allclose(found, expected, rtol=0, atol=1e-12)
    grads = [torch.autograd.grad(y.square().sum(), (x, weight, basis)) for y in (found, expected)]
    for a, b in zip(*grads):
        assert torch.allclose(a, b, rtol=1e-11, atol=1e-11)


def test_second_derivatives_forward_ones_and_maps_are_right():
    tensors = [torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in SMALL]

    def conv(x, weight, basis):
        return F.conv(x, F.FactoredKernel(weight, basis), backend="fft")

    with F.using(tiles=True):
        assert torch.autograd.gradcheck(conv, tensors, check_forward_ad=True)
        assert torch.autograd.gradgradcheck(conv, tensors)
        x, weight, basis = tensors
        mapped = torch.vmap(lambda one: conv(one, weight, basis))(torch.stack((x, 2 * x)))
        assert torch.allclose(mapped[1], 2 * conv(*tensors))


def test_kept_spectra_and_chunks_change_nothing():
    x, weight, basis = (t.detach() for t in leaves((16, 16), (9, 9), torch.float64))
    kernel = F.FactoredKernel(weight, basis)
    expected = F.conv(x, kernel, backend="direct")
    kept = kernel.keep()
    assert isinstance(kept.spectra, Spectra)
    with F.using(tiles=True):
        for _ in range(2):
            assert torch.allclose(F.conv(x, kept, backend="fft"), expected, rtol=0, atol=1e-12)
        assert len(kept.spectra) == 1
        with F.using(chunk=1):
            assert torch.allclose(F.conv(x, kernel, backend="fft"), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
def test_images_leave_in_the_layout_they_came_in(layout):
    x, weight, basis = leaves((16, 12), (5, 5), torch.float32)
    with F.using(tiles=True):
        y = F.conv(
            x.contiguous(memory_format=layout), F.FactoredKernel(weight, basis), backend="fft"
        )
    assert y.is_contiguous(memory_format=layout)


def test_what_is_taken_by_cost():
    geometry = make_geometry((32, 32), (33, 33), 1, 1, "same", "zeros", None)
    shapes = (64, 36, 32, 32), (36, 36, 33, 33), geometry, 33
    tiles, seconds = best_way(*shapes, "cpu", Ways())
    assert isinstance(tiles, Tiles)
    assert tiles.lengths == (48, 48)
    frames, by_fft = best_way(*shapes, "cpu", Ways(tiles=False))
    assert isinstance(frames, Frames)
    assert seconds < by_fft
    assert isinstance(best_way(*shapes, "cuda", Ways())[0], Frames)
    large = make_geometry((96, 96), (15, 15), 1, 1, "same", "zeros", None)
    cut = best_tiles((4, 36, 96, 96), (36, 36, 15, 15), large, 33, "cpu")
    assert min(cut.count) > 1
