"""Generators and layers against the numbers of the published implementation."""

from __future__ import annotations

import pytest
from golden_files import (
    GOLDEN,
    GRADIENT_RTOL,
    VALUE_RTOL,
    check_gradients,
    error,
    load,
    settings,
)

from ckconv import ConvConfig, KernelConfig, MaskConfig, published
from ckconv.nn import CKConv, FlexConv, ck


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("generator_*.npz")), ids=lambda p: p.stem)
def test_generator_matches(path):
    config, data, state, grads = load(path)
    dim, out = config.pop("dim"), config.pop("out_channels")
    training = config.pop("train", False)
    generator = ck.build(KernelConfig(**config), dim=dim, out_channels=out)
    generator.train(training)
    published.load_state_dict(generator, state)
    kernel = generator(data["positions"])
    assert error(kernel, data["kernel"]) < VALUE_RTOL
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
    assert error(layer.conv_kernel, data["kernel"]) < VALUE_RTOL
    assert error(y, data["y"]) < VALUE_RTOL
    y.square().mean().backward()
    assert error(x.grad, data["grad_x"]) < GRADIENT_RTOL
    check_gradients(layer, grads)
