"""Effective receptive fields: known ones, by kernels and by gradients."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from ckconv import ConvConfig, KernelConfig, MaskConfig, NetConfig, UsageError
from ckconv.explore import receptive_fields
from ckconv.models import FlexTCN


def uniform(layer: nn.Conv2d) -> nn.Conv2d:
    nn.init.ones_(layer.weight)
    return layer


def test_a_uniform_kernel_has_its_own_size():
    layer = uniform(nn.Conv2d(1, 1, (7, 3), padding=(3, 1)))
    (field,) = receptive_fields(layer, torch.randn(2, 1, 15, 15))
    assert field.kernel == field.analytic == pytest.approx((7, 3))
    assert field.measured == pytest.approx((7, 3)) and field.largest == (7, 3)
    assert field.energy.max() == 1 and field.energy.count_nonzero() == 21


def test_strides_dilations_and_pools_widen_what_follows():
    network = nn.Sequential(
        uniform(nn.Conv2d(1, 1, 3, stride=2, padding=1)),
        nn.AvgPool2d(2),
        uniform(nn.Conv2d(1, 1, 3, padding=2, dilation=2)),
    )
    first, last = receptive_fields(network, torch.randn(1, 1, 32, 32))
    assert first.largest == (3, 3) and last.largest == (3 + 2 + 4 * 4,) * 2
    variance = 8 / 12 + 3 / 12 * 2**2 + 8 / 12 * 2**2 * 4**2
    assert last.analytic == pytest.approx((math.sqrt(1 + 12 * variance),) * 2)
    (seen,) = last.energy.amax(1).nonzero(as_tuple=True)
    assert seen.max() - seen.min() < 21


def test_random_weights_are_as_the_paper_says():
    """Variances add up: the field grows with the root of the depth."""
    torch.manual_seed(0)
    layers = [nn.Conv2d(24, 24, 5, padding=2) for _ in range(4)]
    fields = receptive_fields(nn.Sequential(*layers), torch.randn(4, 24, 33, 33))
    for depth, field in enumerate(fields, start=1):
        assert field.measured == pytest.approx(field.analytic, rel=0.05)
        assert field.analytic[0] == pytest.approx(math.sqrt(1 + 24 * depth), rel=0.05)


def test_a_causal_network_looks_back_from_its_last_step():
    torch.manual_seed(0)
    network = FlexTCN(
        1,
        3,
        NetConfig(no_hidden=4, no_blocks=1),
        KernelConfig(no_hidden=8),
        ConvConfig(horizon="31"),
        MaskConfig(init_value=0.1),
    )
    network.train()
    fields = receptive_fields(network, torch.randn(2, 1, 40))
    assert network.training and [field.name for field in fields][-1] == "blocks.0.conv2"
    for field in fields:
        (seen,) = field.energy.nonzero(as_tuple=True)
        assert seen.max() == 39 and seen.min() >= 40 - field.largest[0]
        assert field.measured[0] > 1


def test_nothing_is_left_behind_and_nothing_is_said_without_convolutions():
    network = nn.Sequential(nn.Conv2d(1, 1, 3))
    receptive_fields(network, torch.randn(1, 1, 5, 5))
    assert not network[0]._forward_hooks and network[0].weight.grad is None
    with pytest.raises(UsageError, match="calls no convolution over positions"):
        receptive_fields(nn.Conv2d(1, 1, 1), torch.randn(1, 1, 5, 5))
