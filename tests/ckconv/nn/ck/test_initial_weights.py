"""What weights start as, where the published runs' differ from the plain formula."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from ckconv import ConvConfig, KernelConfig, NetConfig, UsageError
from ckconv.models import FlexNet, FlexTCN
from ckconv.nn import CKConv, ck


@pytest.mark.parametrize("kind", ["SIREN", "nSIREN"])
def test_kernels_of_the_ckconv_code_start_as_they_really_did(kind):
    torch.manual_seed(0)
    settings = {"type": kind, "weight_norm": True, "omega_0": 30.0}
    generator = ck.build(KernelConfig(**settings, init="ckconv"), 1, 900)
    linears = [*(layer.linear for layer in generator.layers), generator.output]
    for linear in linears:
        bound = 1 / math.sqrt(linear.in_features)
        weight = linear.effective_weight()
        assert weight.abs().max() <= bound + 1e-6
        assert weight.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.3)
        assert 0.8 < linear.bias.abs().max() <= 1
    line = torch.linspace(-1, 1, 500).view(1, 1, -1)
    plain = ck.build(KernelConfig(**settings), 1, 900)
    assert generator(line).std().item() == pytest.approx(0.70, abs=0.05)
    assert plain(line).std().item() == pytest.approx(0.11, abs=0.03)


@pytest.mark.parametrize("kind", ["Fourier", "Gabor", "MAGNet"])
def test_bias_init_is_for_the_linear_maps_of_a_filter_network(kind):
    torch.manual_seed(0)

    def biases(bias_init):
        generator = ck.build(KernelConfig(type=kind, bias_init=bias_init), 2, 6)
        return torch.cat([m.bias for m in (*generator.linears, generator.output)]), generator

    zero, generator = biases("zero")
    assert (zero == 0).all() and all((f.linear.bias != 0).all() for f in generator.filters)
    assert biases("uniform")[0].abs().max() > 0.9
    assert 0 < biases(None)[0].abs().max() <= 1 / math.sqrt(32)
    with pytest.raises(UsageError, match=r"kernel\.bias_init=one"):
        biases("one")


def test_a_shortcut_starts_as_pytorchs_convolution():
    torch.manual_seed(0)
    conv = ConvConfig(type="Conv", horizon="3")
    for model in (
        FlexNet(3, 4, 2, NetConfig(no_hidden=32, block_width_factors=[1.0, 1, 2.0, 1]), conv=conv),
        FlexTCN(32, 4, NetConfig(type="FlexTCN", no_hidden=64), conv=conv),
    ):
        (shortcut,) = (b.shortcut for b in model.blocks if not isinstance(b.shortcut, nn.Identity))
        bound = 1 / math.sqrt(32)
        assert 0.95 * bound < shortcut.weight.abs().max() <= bound
        assert 0.5 * bound < shortcut.bias.abs().max() <= bound


def test_the_stem_has_the_networks_width_whatever_the_first_factor_is():
    net = NetConfig(no_hidden=8, block_width_factors=[1.5, 1, 2.0, 1])
    model = FlexNet(3, 4, 2, net, conv=ConvConfig(type="Conv", horizon="3"))
    assert model.stem.out_channels == model.stem_norm.num_features == 8
    assert [block.conv1.out_channels for block in model.blocks] == [12, 16]
    assert model.blocks[0].shortcut.weight.shape[:2] == (12, 8)
    assert model(torch.randn(2, 3, 8, 8)).shape == (2, 4)


def test_weight_dropout_drops_values_of_the_kernel_in_training_alone():
    torch.manual_seed(0)
    kernel = KernelConfig(type="SIREN", weight_dropout=0.3)
    layer, x = CKConv(4, 5, 1, kernel), torch.randn(2, 4, 60)
    whole = layer.eval()(x)
    full = layer.conv_kernel
    assert torch.equal(layer(x), whole)
    layer.train()(x)
    dropped = layer.conv_kernel
    kept = dropped != 0
    assert (~kept).float().mean().item() == pytest.approx(0.3, abs=0.05)
    torch.testing.assert_close(dropped[kept], full[kept] / 0.7)
    y = layer(x)
    expected = torch.conv1d(nn.functional.pad(x, (59, 0)), layer.conv_kernel, layer.bias)
    torch.testing.assert_close(y, expected, atol=1e-4, rtol=1e-4)
