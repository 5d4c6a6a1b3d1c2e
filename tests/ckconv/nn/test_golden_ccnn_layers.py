"""The layers of CCNN against the numbers of their published implementation."""

from __future__ import annotations

import pytest
import torch
from golden_files import GOLDEN, error, load, settings

from ckconv import ConvConfig, FlexConv, KernelConfig, MaskConfig, SepFlexConv, published

LAYERS = {"SepFlexConv": SepFlexConv, "FlexConv": FlexConv}
RTOL = 1e-5


@pytest.mark.parametrize("use_fft", ["False", "True"])
@pytest.mark.parametrize("path", sorted(GOLDEN.glob("ccnn_layer_*.npz")), ids=lambda p: p.stem)
def test_layer_matches(path, use_fft):
    config, data, state, _ = load(path)
    layer = LAYERS[config["layer"]](
        config["in_channels"],
        config["out_channels"],
        config["dim"],
        KernelConfig(**settings(config, "kernel.")),
        ConvConfig(**settings(config, "conv."), use_fft=use_fft),
        MaskConfig(type="fixed_gaussian", **settings(config, "mask.")),
    )
    published.load_state_dict(layer, state)
    x = data["x"].clone().requires_grad_()
    y = layer(x)
    kernel = layer.conv_kernel
    kernel = kernel.transpose(0, 1) if layer.is_depthwise else kernel
    assert kernel.shape == data["kernel"].shape
    assert error(kernel, data["kernel"]) < RTOL
    assert error(y, data["y"]) < RTOL
    y.square().mean().backward()
    assert error(x.grad, data["grad_x"]) < RTOL
    norms = torch.stack([p.grad.norm() for p in layer.parameters()])
    assert norms.norm().item() == pytest.approx(data["grad_norm"].item(), rel=1e-4)
