"""Generators and layers against the numbers of the published implementation."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from conftest import GOLDEN

from ckconv import ConvConfig, KernelConfig, MaskConfig, published
from ckconv.nn import CKConv, FlexConv, ck

KERNEL_RTOL = 1e-4
GRADIENT_RTOL = 1e-3


def load(path):
    arrays = np.load(path)
    tensors = {name: torch.from_numpy(arrays[name]) for name in arrays.files if name != "config"}
    groups = {
        prefix: {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
        for prefix in ("state/", "grad/")
    }
    return json.loads(str(arrays["config"])), tensors, groups["state/"], groups["grad/"]


def error(got, expected):
    """Relative error of a whole tensor."""
    return ((got - expected).norm() / expected.norm().clamp(min=1e-12)).item()


def check_gradients(module, grads):
    own = dict(module.named_parameters())
    expected = published.translate(module, grads)
    assert expected.keys() <= own.keys()
    # A gradient that vanishes but for rounding is judged by the size of the others.
    scale = max(value.norm().item() for value in expected.values())
    for name, value in expected.items():
        difference = (own[name].grad - value).norm().item()
        assert difference <= GRADIENT_RTOL * max(value.norm().item(), 1e-3 * scale), name


def settings(config, prefix):
    return {k.removeprefix(prefix): v for k, v in config.items() if k.startswith(prefix)}


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("generator_*.npz")), ids=lambda p: p.stem)
def test_generator_matches(path):
    config, data, state, grads = load(path)
    dim, out = config.pop("dim"), config.pop("out_channels")
    training = config.pop("train", False)
    generator = ck.build(KernelConfig(**config), dim=dim, out_channels=out)
    generator.train(training)
    published.load_state_dict(generator, state)
    kernel = generator(data["positions"])
    assert error(kernel, data["kernel"]) < KERNEL_RTOL
    kernel.square().mean().backward()
    check_gradients(generator, grads)


LAYERS = sorted(GOLDEN.glob("ckconv_*.npz")) + sorted(GOLDEN.glob("flexconv_*.npz"))


@pytest.mark.parametrize("backend", ["as published", "direct", "fft"])
@pytest.mark.parametrize("path", LAYERS, ids=lambda p: p.stem)
def test_layer_matches(path, backend):
    config, data, state, grads = load(path)
    use_fft = {"direct": "False", "fft": "True"}.get(
        backend, str(config.get("conv.use_fft", "auto"))
    )
    conv = ConvConfig(horizon=config["horizon"], use_fft=use_fft)
    layer_type = {"CKConv": CKConv, "FlexConv": FlexConv}[config["layer"]]
    kwargs = {"mask": MaskConfig(**settings(config, "mask."))} if layer_type is FlexConv else {}
    layer = layer_type(
        config["in_channels"],
        config["out_channels"],
        config["dim"],
        KernelConfig(**settings(config, "kernel.")),
        conv,
        **kwargs,
    )
    published.load_state_dict(layer, state)
    x = data["x"].clone().requires_grad_()
    y = layer(x)
    assert layer.conv_kernel.shape == data["kernel"].shape
    assert error(layer.conv_kernel, data["kernel"]) < KERNEL_RTOL
    assert error(y, data["y"]) < KERNEL_RTOL
    y.square().mean().backward()
    assert error(x.grad, data["grad_x"]) < GRADIENT_RTOL
    check_gradients(layer, grads)
