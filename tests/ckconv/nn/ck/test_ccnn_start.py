"""How CCNN's kernels start: `kernel.init=ccnn`."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from golden_files import GOLDEN, load, settings

import ckconv
from ckconv import ConvConfig, FlexConv, KernelConfig, MaskConfig, SepFlexConv
from ckconv.errors import UsageError

LAYERS = {"SepFlexConv": SepFlexConv, "FlexConv": FlexConv}
START = KernelConfig(no_hidden=16, omega_0=50.0, init="ccnn")


def make(kind, channels, dim, horizon, sigma=0.3, **conv):
    mask = MaskConfig(type="fixed_gaussian", init_value=sigma)
    return kind(channels, channels, dim, START, ConvConfig(horizon=str(horizon), **conv), mask)


def gain(layer, size):
    """The variance of a depthwise or dense convolution's output, per unit of the input's."""
    x = torch.randn(4, layer.in_channels, *size)
    kernel = layer.sample_kernel().dense()
    assert kernel.shape[2:] == layer.cropped_size()
    y = ckconv.functional.conv(x, kernel, None, groups=layer.groups, padding_mode="circular")
    return y.var().item()


@pytest.mark.parametrize("kind", LAYERS.values())
@pytest.mark.parametrize("dim", [1, 2, 3])
def test_the_variance_does_not_grow_with_the_kernel_nor_the_channels(kind, dim):
    torch.manual_seed(0)
    sizes = {1: (33, 129, 513), 2: (9, 17, 33), 3: (7, 9, 13)}[dim]
    found = []
    for size in sizes:
        for channels in (4, 32):
            layer = make(kind, channels, dim, size, causal=False)
            found.append(gain(layer, {1: (600,), 2: (40, 40), 3: (12, 12, 12)}[dim]))
    assert max(found) < 6 * min(found)  # unscaled, it grows as the kernel and the channels
    assert max(found) < 3


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("ccnn_layer_*.npz")), ids=lambda p: p.stem)
def test_it_starts_in_the_ranges_of_the_published_layers(path):
    """Those were moved a little since, by a step of up to 0.2."""
    config, data, state, _ = load(path)
    torch.manual_seed(0)
    layer = LAYERS[config["layer"]](
        config["in_channels"],
        config["out_channels"],
        config["dim"],
        KernelConfig(**settings(config, "kernel."), init="ccnn"),
        ConvConfig(**settings(config, "conv.")),
        MaskConfig(type="fixed_gaussian", **settings(config, "mask.")),
    )
    layer(data["x"])
    ours = layer.generator
    theirs = {name.removeprefix("Kernel."): v for name, v in state.items() if "Kernel." in name}
    for index, linear in enumerate(ours.linears):
        bound = theirs[f"linears.{index}.weight"].abs().max().item()
        assert linear.weight.abs().max().item() == pytest.approx(bound, rel=0.06)
        assert (linear.bias == 1).all()
    bound = theirs["output_linear.weight"].abs().max().item()
    assert ours.output.weight.abs().max().item() == pytest.approx(bound, rel=0.15)
    assert (ours.output.bias == 0).all()
    sigma = config["mask.init_value"]
    for index, g in enumerate(ours.filters):
        assert (g.linear.bias == 0).all()
        for centres in (g.mu, theirs[f"filters.{index}.mu"]):
            first, last = (1 - 5 / 3 * sigma, 1) if config["conv.causal"] else (-1, 1)
            assert centres.min() > first - 0.01
            assert centres.max() < last + 0.01
        speed = g.linear.weight / (2 * math.pi * KernelConfig.omega_0 * g.gamma)
        assert speed.abs().max() <= 1 / math.sqrt(config["dim"]) + 1e-6


def test_it_is_scaled_once_by_the_first_input_and_a_checkpoint_remembers():
    torch.manual_seed(0)
    layer, x = make(SepFlexConv, 3, 1, "same"), torch.randn(2, 3, 50)
    before = layer.generator.output.weight.clone()
    fresh = copy.deepcopy(layer)
    y = layer(x)
    kept = layer.cropped_size()[0]
    torch.testing.assert_close(layer.generator.output.weight, before * kept**-0.5)
    torch.testing.assert_close(layer(x), y)
    other = make(SepFlexConv, 3, 1, "same")
    other.load_state_dict(layer.state_dict())
    torch.testing.assert_close(other(x), y)
    torch.testing.assert_close(fresh(x), y)  # copies that have seen no input are scaled by theirs
    layer.set_resolution(2)
    torch.testing.assert_close(layer.generator.output.weight, before * kept**-0.5)


def test_centres_under_a_causal_mask_of_its_own_width_start_in_front_of_the_present():
    layer = FlexConv(2, 2, 3, START, ConvConfig(horizon="9", causal=True, causal_axis=1))
    centres = torch.cat([g.mu for g in layer.generator.filters])
    assert centres[:, 1].min() > 0
    assert centres[:, 1].max() <= 1
    assert centres[:, [0, 2]].min() < 0


def test_other_generators_refuse_it():
    with pytest.raises(UsageError, match="kernel.init=ccnn: not with kernel.type=SIREN"):
        SepFlexConv(2, 2, 1, KernelConfig(type="SIREN", init="ccnn"))
