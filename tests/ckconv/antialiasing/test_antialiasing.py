"""Analytic frequencies and the regularizer, against golden vectors and by hand."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from golden_files import GOLDEN

from ckconv import ConvConfig, KernelConfig, MaskConfig, UsageError, published
from ckconv.antialiasing import bound, frequencies, mask_frequency, nyquist, regularizer
from ckconv.nn import CKConv, FlexConv, ck
from models import FlexNet, NetConfig

ARRAYS = np.load(GOLDEN / "antialiasing.npz")
ROWS = json.loads(str(ARRAYS["values"]))


def golden(prefix):
    return {
        name.removeprefix(prefix): torch.from_numpy(ARRAYS[name])
        for name in ARRAYS.files
        if name.startswith(prefix)
    }


@pytest.fixture(scope="module")
def network():
    model = FlexNet(
        3,
        10,
        2,
        NetConfig(no_hidden=6, no_blocks=2),
        KernelConfig(no_hidden=8),
        ConvConfig(horizon="17"),
    )
    published.load_state_dict(model, golden("state/"))
    return model


def layers_of(model):
    return [module for module in model.modules() if isinstance(module, CKConv)]


def test_frequencies_match(network):
    own = torch.stack([frequencies(layer, 2.0) for layer in layers_of(network)])
    np.testing.assert_allclose(own.detach(), ARRAYS["frequencies"], rtol=1e-5)
    masks = torch.stack([mask_frequency(layer, 2.0) for layer in layers_of(network)])
    np.testing.assert_allclose(masks.detach(), ARRAYS["mask_frequencies"], rtol=1e-5)


@pytest.mark.parametrize(
    "row",
    ROWS,
    ids=lambda r: f"{r['target']}-{r['fn']}-{r['method']}-{r['gauss_stddevs']}-{r['res']}",
)
def test_values_match(network, row):
    settings = {k: row[k] for k in ("target", "fn", "method", "gauss_stddevs")}
    value = regularizer(network, row["res"], row["factor"], **settings)
    assert value.item() == pytest.approx(row["value"], rel=1e-5)


def test_gradients_match(network):
    network.zero_grad()
    regularizer(network, 17, 0.1).backward()
    own = dict(network.named_parameters())
    expected = published.translate(network, golden("grad/"))
    assert len(expected) >= 5 * 9
    for name, gradient in expected.items():
        got = own[name].grad if own[name].grad is not None else torch.zeros_like(gradient)
        assert (got - gradient).norm() <= 1e-3 * gradient.norm(), name
    others = own.keys() - expected.keys()
    assert all(own[name].grad is None or not own[name].grad.any() for name in others)


def test_res_zero_is_the_kernel_size_and_res_offset_is_added(network):
    at_17 = regularizer(network, 17, 0.1).item()
    assert regularizer(network, 0, 0.1).item() == at_17
    assert regularizer(network, 9, 0.1, res_offset=8).item() == at_17
    assert regularizer(network, 0, 0.1, res_offset=-8).item() == regularizer(network, 9, 0.1).item()
    with pytest.raises(UsageError, match="res_offset=-20"):
        regularizer(network, 0, 0.1, res_offset=-20)


def test_nyquist():
    assert nyquist(33) == 8.0
    assert nyquist((17, 33)) == 4.0
    assert nyquist(1) == 0.0


def test_one_dimension_by_hand():
    layer = FlexConv(2, 3, dim=1, conv=ConvConfig(horizon="65"), mask=MaskConfig(init_value=0.2))
    expected = []
    for gabor in layer.generator.filters:
        expected.append((gabor.linear.weight.abs().max() + 3 * gabor.gamma.max()) / (2 * math.pi))
    expected = torch.stack(expected)
    torch.testing.assert_close(frequencies(layer, 3.0), expected)
    mask = 3 / (2 * math.pi * 0.2)
    assert mask_frequency(layer, 3.0).item() == pytest.approx(mask)
    assert mask_frequency(layer.mask, 3.0).item() == pytest.approx(mask)
    assert bound(layer, 3.0).item() == pytest.approx(expected.sum().item() + mask)
    together = (expected + mask / 4 - 16 / 4).relu().square().sum()
    value = regularizer(layer, 0, 0.5, gauss_stddevs=3.0)
    assert value.item() == pytest.approx(0.5 * together.item(), rel=1e-5)


def test_a_layer_without_mask_and_a_network_without_generated_kernels():
    layer = CKConv(2, 3, dim=1, conv=ConvConfig(horizon="9"))
    assert mask_frequency(layer).item() == 0
    assert regularizer(layer, 0, 1.0).item() == pytest.approx(
        regularizer(layer, 0, 1.0, target="gabor").item()
    )
    assert regularizer(torch.nn.Conv2d(1, 1, 3), 0, 1.0).item() == 0


def test_unlike_layers_add_up():
    torch.manual_seed(0)
    a = FlexConv(1, 2, dim=1, conv=ConvConfig(horizon="9"))
    b = FlexConv(1, 2, kernel=KernelConfig(no_layers=2), conv=ConvConfig(horizon="33"))
    c = CKConv(1, 2, kernel=KernelConfig(type="Fourier"), conv=ConvConfig(horizon="33"))
    d = FlexConv(1, 2, kernel=KernelConfig(no_hidden=8), conv=ConvConfig(horizon="33"))
    for settings in ({}, {"method": "summed"}, {"fn": "offset_elu"}):
        apart = sum(regularizer(x, 0, 0.1, **settings).item() for x in (a, b, c, d))
        whole = regularizer(torch.nn.ModuleList([a, b, c, d]), 0, 0.1, **settings)
        assert whole.item() == pytest.approx(apart, rel=1e-5)


@pytest.mark.parametrize("name", ["MLP", "SIREN", "nSIREN"])
def test_a_generator_without_bound_is_refused(name):
    generator = ck.build(KernelConfig(type=name), 2, 4)
    with pytest.raises(UsageError, match=f"kernel.type={name}"):
        frequencies(generator)
    with pytest.raises(UsageError, match="MAGNet, Gabor or Fourier"):
        regularizer(FlexConv(1, 1, kernel=KernelConfig(type=name)), 9, 0.1)


def test_mistakes_are_sentences():
    layer = FlexConv(1, 1)
    with pytest.raises(UsageError, match="fixes the kernel's size"):
        regularizer(layer, 0, 0.1)
    assert regularizer(layer, 9, 0.1).item() > 0
    with pytest.raises(UsageError, match="regularize_params.fn=l1"):
        regularizer(layer, 9, 0.1, fn="l1")
    with pytest.raises(UsageError, match="regularize_params.target"):
        regularizer(layer, 9, 0.1, target="mask")
    with pytest.raises(UsageError, match="regularize_params.method"):
        regularizer(layer, 9, 0.1, method="apart")


def test_a_rotated_gaussian_turns_its_spectrum():
    generator = ck.build(KernelConfig(no_hidden=1, no_layers=1, steerable=True), 2, 1)
    with torch.no_grad():
        for gabor in generator.filters:
            gabor.linear.weight.zero_()
            gabor.gamma.copy_(torch.tensor([[6.0, 2.0]]))
            gabor.theta.fill_(1 / 8)  # 45 degrees
    expected = math.sqrt((36 + 4) / 2) / (2 * math.pi)
    torch.testing.assert_close(frequencies(generator, 1.0), torch.full((2,), expected))
    for gabor in generator.filters:
        gabor.theta.data.fill_(0.25)  # a quarter turn swaps the axes
    torch.testing.assert_close(frequencies(generator, 1.0), torch.full((2,), 6 / (2 * math.pi)))
