"""Layers whose parameters are of half precision."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

import ckconv.functional as F
from ckconv import FlexConv1d, FlexConv2d, KernelConfig, MaskConfig, spectra
from ckconv.nn import GaussianMask, conv_at_times, sample_together

KINDS = {
    "MAGNet": {},
    "MAGNet, ccnn": {"type": "MAGNet", "init": "ccnn"},
    "SIREN": {"weight_norm": True},
    "nSIREN": {},
    "Gabor": {},
    "Fourier": {},
    "MLP": {"norm": ""},
}


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("kind", KINDS)
def test_kernels_of_half_precision_are_as_exact_as_their_parameters(kind, dtype):
    """Long ones too, whose positions half precision does not tell apart."""
    torch.manual_seed(0)
    generator = KernelConfig(**{"type": kind, "no_hidden": 8, **KINDS[kind]})
    layer = FlexConv1d(4, 4, 999, groups=2, generator=generator, sigma=0.3).to(dtype)
    kernel, exact = layer.sample_kernel(), copy.deepcopy(layer).float().sample_kernel().dense()
    assert kernel.dtype == dtype
    weight, basis = kernel.weight.float(), kernel.basis.float()
    products = F.FactoredKernel(weight.abs(), basis.abs()).dense()
    error = (F.FactoredKernel(weight, basis).dense() - exact).abs()
    least = 8 * torch.finfo(dtype).smallest_normal
    assert (error <= torch.finfo(dtype).eps * products + least).all()
    x, how = torch.randn(2, 4, 64), {"causal": True, "groups": 2}
    exact = F.conv(x.to(dtype).float(), kernel.dense().float(), backend="direct", **how)
    scale = F.conv(x.abs(), products, backend="direct", **how)
    for backend in ("direct", "fft"):
        y = F.conv(x.to(dtype), kernel, backend=backend, **how)
        assert ((y.float() - exact).abs() <= torch.finfo(dtype).eps * scale + least).all()


@pytest.mark.parametrize("kind", KINDS)
def test_half_precision_starts_and_trains(kind):
    torch.manual_seed(0)
    generator = KernelConfig(**{"type": kind, "no_hidden": 8, **KINDS[kind]})
    layer = FlexConv1d(4, 4, generator=generator, dtype=torch.bfloat16)
    x = torch.randn(2, 4, 400, dtype=torch.bfloat16)
    layer(x).sum().backward()
    assert all(p.grad.isfinite().all() and p.grad.dtype == p.dtype for p in layer.parameters())
    spectra.evaluate(layer, [torch.linspace(-1, 1, 9)])
    layer.eval()
    times = torch.arange(400.0).expand(2, -1)
    y = layer(x)
    torch.testing.assert_close(conv_at_times(layer, x, times), y, atol=0.05, rtol=0.05)


@pytest.mark.parametrize("made", ["a mask", "no crop", "kept"])
def test_half_precision_under_an_autocast_to_the_other_half(made):
    torch.manual_seed(0)
    mask = MaskConfig(init_value=0.3, dynamic_cropping=made != "no crop")
    layers = [FlexConv2d(4, 4, 9, mask=mask, cache=made == "kept") for _ in range(2)]
    model, x = nn.Sequential(*layers).train(made != "kept"), torch.randn(2, 4, 12, 12)
    expected = model(x)
    with torch.autocast("cpu", torch.bfloat16):
        for _ in range(2):
            got = model.half()(x.half())
            sample_together(model)
            assert (got.float() - expected).norm() < 0.02 * expected.norm()


@pytest.mark.parametrize("dim", [1, 2])
def test_a_window_of_half_precision_keeps_what_the_crop_keeps(dim):
    """In compiled evaluations; indices over 256 are not whole numbers of bfloat16."""
    mask = GaussianMask(dim, 0.31, causal=dim == 1).to(torch.bfloat16)
    for axis, (start, stop) in enumerate(mask.crop((999,) * dim)):
        kept = mask._kept(axis, 999).nonzero().flatten()
        assert (kept[0].item(), kept[-1].item() + 1, len(kept)) == (start, stop, stop - start)
