"""A step or a pixel that is not finite reaches what the layer's kernel does, and nothing else."""

from __future__ import annotations

import math

import pytest
import torch

from ckconv import ConvConfig, KernelConfig, MaskConfig
from ckconv.nn import CKConv, FlexConv

KERNEL = KernelConfig(no_hidden=8, no_layers=1)


@pytest.mark.parametrize("use_fft", ["auto", "True", "False"])
@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize(("length", "horizon"), [(50, "same"), (3000, "same"), (3000, "31")])
def test_no_step_of_a_causal_layer_reads_a_later_one(use_fft, value, length, horizon):
    torch.manual_seed(0)
    layer = CKConv(2, 3, 1, KERNEL, ConvConfig(horizon=horizon, use_fft=use_fft))
    x, middle = torch.randn(2, 2, length), length // 2
    clean = layer(x)
    x[1, 0, middle] = value
    y = layer(x)
    torch.testing.assert_close(y[0], clean[0], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(y[1, :, :middle], clean[1, :, :middle], rtol=1e-3, atol=1e-3)
    assert not torch.isfinite(y[1, :, middle]).any()


@pytest.mark.parametrize("use_fft", ["auto", "True", "False"])
@pytest.mark.parametrize("training", [True, False])
def test_a_pixel_reaches_as_far_as_the_kernel(use_fft, training):
    torch.manual_seed(0)
    conv = ConvConfig(horizon="9", use_fft=use_fft)
    layer = FlexConv(2, 3, 2, KERNEL, conv, MaskConfig(init_value=0.5)).train(training)
    x = torch.randn(2, 2, 40, 40)
    clean = layer(x)
    x[1, 0, 20, 20] = math.nan
    y = layer(x)
    beyond = torch.ones(40, 40, dtype=torch.bool)
    beyond[16:25, 16:25] = False
    torch.testing.assert_close(y[1][:, beyond], clean[1][:, beyond], rtol=1e-3, atol=1e-3)
    assert not torch.isfinite(y[1][:, ~beyond]).any()
