"""Causality: changing the input after step t never changes the output up to t."""

from __future__ import annotations

import itertools

import pytest
import torch

import ckconv.functional as F
from ckconv import ConvConfig, KernelConfig, MaskConfig
from ckconv.functional.spectral.plan import plan_frames
from ckconv.nn import CKConv, FlexConv

GENERATORS = {
    "MLP": {"type": "MLP", "norm": ""},
    "MLP BatchNorm": {"type": "MLP", "norm": "BatchNorm", "activ_function": "Swish"},
    "MLP LayerNorm": {"type": "MLP", "norm": "LayerNorm", "weight_norm": True},
    "SIREN": {"type": "SIREN", "weight_norm": True},
    "nSIREN": {"type": "nSIREN", "learn_omega_0": True},
    "Fourier": {"type": "Fourier"},
    "Gabor": {"type": "Gabor"},
    "MAGNet": {"type": "MAGNet"},
}
BACKENDS = {"direct": "False", "fft": "True", "auto": "auto"}
LENGTHS = (2, 3, 17, 64, 301)
HORIZONS = ("same", "full", "7", "129")
TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-12}  # of the output's scale
CHANNELS = 2


def make_layer(generator, horizon="same", use_fft="auto", mask=None, dtype=torch.float64):
    torch.manual_seed(0)
    kernel = KernelConfig(**GENERATORS[generator], no_hidden=8)
    conv = ConvConfig(horizon=horizon, use_fft=use_fft)
    if mask is None:
        return CKConv(CHANNELS, 3, 1, kernel, conv).to(dtype)
    return FlexConv(CHANNELS, 3, 1, kernel, conv, MaskConfig(init_value=mask)).to(dtype)


def steps_to_try(length):
    """Every step t of a short sequence, and of a long one both ends and some in between."""
    if length <= 20:
        return list(range(length))
    inside = torch.randint(2, length - 2, (6,), generator=torch.Generator().manual_seed(length))
    return sorted({0, 1, *inside.tolist(), length - 2, length - 1})


def leaks(module, length, dtype):
    """The largest change of an output up to t for inputs that differ after t, per t tried.

    In parts of the output's scale. Also checks that the outputs after t do change, at once.
    """
    generator = torch.Generator().manual_seed(length)
    x = torch.randn(1, CHANNELS, length, generator=generator, dtype=dtype)
    steps = steps_to_try(length)
    changed = x.repeat(len(steps), 1, 1)  # (T, C, L)
    for row, t in zip(changed, steps):
        future = row[:, t + 1 :]
        future.copy_(torch.randn(future.shape, generator=generator, dtype=dtype))
    with torch.no_grad():
        y = module(torch.cat([x, changed]))  # (1 + T, O, L)
    before, after = y[:1], y[1:]
    scale = y.abs().max()
    assert scale > 0 and torch.isfinite(scale)
    worst = {}
    for difference, t in zip((after - before).abs(), steps):
        worst[t] = (difference[:, : t + 1].max() / scale).item()
        if t + 1 < length:
            assert difference[:, t + 1].max() / scale > 1e-4, f"the output ignores step {t + 1}"
    return worst


def assert_causal(module, length, dtype):
    for t, change in leaks(module, length, dtype).items():
        assert change < TOLERANCE[dtype], f"length {length}: changed at or before step {t}"


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("use_fft", BACKENDS.values(), ids=BACKENDS)
@pytest.mark.parametrize("generator", GENERATORS)
def test_ckconv_is_causal(generator, use_fft, dtype):
    for length, training in itertools.product(LENGTHS, (True, False)):
        layer = make_layer(generator, use_fft=use_fft, dtype=dtype).train(training)
        assert_causal(layer, length, dtype)


@pytest.mark.parametrize("use_fft", BACKENDS.values(), ids=BACKENDS)
@pytest.mark.parametrize("generator", GENERATORS)
def test_flexconv_is_causal_whatever_its_mask(generator, use_fft):
    for length, sigma in itertools.product(LENGTHS[2:], (0.02, 0.3, 2.0)):
        layer = make_layer(generator, use_fft=use_fft, mask=sigma).eval()
        assert_causal(layer, length, torch.float64)


@pytest.mark.parametrize("mean", [0.4, 1.0, 1.5])
def test_flexconv_is_causal_where_its_mask_has_moved(mean):
    layer = make_layer("SIREN", mask=0.2)
    layer.mask.mean.data.fill_(mean)
    _, _, kernel_length = _ran(layer, 200).conv_kernel.shape
    x = torch.randn(2, CHANNELS, 200, dtype=torch.float64)
    x[1, :, :120] = x[0, :, :120]
    with torch.no_grad():
        first, second = layer(x)
    assert kernel_length < 200
    assert (first - second)[:, :120].abs().max() < 1e-12 * first.abs().max()
    assert (first - second)[:, 120:].abs().max() > 1e-3 * first.abs().max()


def _ran(layer, length):
    layer(torch.zeros(1, CHANNELS, length, dtype=torch.float64))
    return layer


@pytest.mark.parametrize("use_fft", BACKENDS.values(), ids=BACKENDS)
@pytest.mark.parametrize("horizon", HORIZONS)
def test_any_horizon_is_causal_at_any_length(horizon, use_fft):
    """The first input fixes the kernel's length; shorter and longer ones meet the same kernel."""
    layer = make_layer("SIREN", horizon, use_fft)
    for length in (64, *LENGTHS):
        assert_causal(layer, length, torch.float64)


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
def test_long_sequences_in_frames_are_causal(dtype):
    layer = make_layer("MAGNet", "129", BACKENDS["fft"], dtype=dtype)
    shape = (1 + len(steps_to_try(4000)), CHANNELS, 4000)
    assert plan_frames(shape, (3, CHANNELS, 129), ((128, 0),), 9, "cpu").count > 1
    assert_causal(layer, 4000, dtype)


@pytest.mark.parametrize(("frame", "step"), [(64, 26), (64, 2), (128, 90)])
def test_frames_of_any_length_are_causal(frame, step):
    horizon = str(frame - step + 1)
    with F.using(frames=frame):
        assert_causal(make_layer("SIREN", horizon, BACKENDS["fft"]), 200, torch.float64)


@pytest.mark.parametrize("ratio", [0.5, 0.25, 2])
def test_a_layer_at_another_sampling_rate_is_causal(ratio):
    layer = _ran(make_layer("SIREN"), 100)
    layer.set_resolution(ratio)
    assert_causal(layer, int(100 * ratio), torch.float64)


def test_a_centred_kernel_would_be_noticed():
    """The check itself fails for a convolution that looks one step ahead."""

    def peeking(x):
        return torch.nn.functional.conv1d(x, torch.ones(3, CHANNELS, 3, dtype=x.dtype), padding=1)

    assert max(leaks(peeking, 17, torch.float64).values()) > 0.01
