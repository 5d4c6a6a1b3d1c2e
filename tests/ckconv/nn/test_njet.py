"""N-Jet layers against the numbers of the published implementation."""

from __future__ import annotations

import pytest
from golden_files import GOLDEN, check_gradients, error, load

from ckconv import published
from ckconv.nn import NJet


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("njet_*.npz")), ids=lambda p: p.stem)
def test_njet_matches(path):
    config, data, state, grads = load(path)
    layer = NJet(config["in_channels"], config["out_channels"], order=config["order"])
    published.load_state_dict(layer, state)
    x = data["x"].requires_grad_()
    y = layer(x)
    assert error(layer.conv_kernel, data["kernel"]) < 1e-4
    assert error(y, data["y"]) < 1e-4
    y.square().mean().backward()
    assert error(x.grad, data["grad_x"]) < 1e-3
    check_gradients(layer, grads)
