"""Whole networks against the numbers and parameter counts of the published implementation."""

from __future__ import annotations

import json

import pytest
import torch
from golden_files import GOLDEN, VALUE_RTOL, check_gradients, error, load, settings

from ckconv import ConvConfig, KernelConfig, MaskConfig, published
from models import FlexNet, FlexTCN, NetConfig

PATHS = [path for name in ("flexnet", "flextcn", "cktcn") for path in GOLDEN.glob(f"{name}*.npz")]


def build_network(config):
    net = settings(config, "net.")
    if "block_width_factors" in net:
        net["block_width_factors"] = json.loads(net["block_width_factors"])
    parts = {
        "net": NetConfig(type=config["net"], **net),
        "kernel": KernelConfig(**settings(config, "kernel.")),
        "conv": ConvConfig(**settings(config, "conv.")),
        "mask": MaskConfig(**settings(config, "mask.")),
    }
    if config["net"] == "FlexTCN":
        return FlexTCN(config["in_channels"], config["out_channels"], **parts)
    dim = config["kernel.dim_linear"]
    return FlexNet(config["in_channels"], config["out_channels"], dim, **parts)


@pytest.mark.parametrize("path", sorted(PATHS), ids=lambda p: p.stem)
def test_network_matches(path):
    config, data, state, grads = load(path)
    model = build_network(config)
    assert sum(p.numel() for p in model.parameters()) == data["n_parameters"]
    published.load_state_dict(model, state)
    model.eval()
    with torch.no_grad():
        assert error(model(data["x"]), data["y"]) < VALUE_RTOL
    model.train()
    y = model(data["x"])
    assert error(y, data["y_train"]) < VALUE_RTOL
    loss = torch.nn.functional.cross_entropy(y, data["target"])
    assert loss.item() == pytest.approx(data["loss_train"].item(), rel=VALUE_RTOL)
    loss.backward()
    check_gradients(model, grads)


FLEXNET7 = {"no_hidden": 24, "no_blocks": 7, "block_width_factors": [1.0, 2, 1.5, 3, 2.0, 2]}
FLEXNET5 = {"no_hidden": 22, "no_blocks": 5, "block_width_factors": [1.0, 1, 1.5, 2, 2.0, 2]}
CKCNN_KERNEL = {"type": "SIREN", "weight_norm": True}


@pytest.mark.parametrize(
    ("expected", "make"),
    [
        (671_650, lambda: FlexNet(3, 10, 2, NetConfig(**FLEXNET7))),
        (498_596, lambda: FlexNet(3, 1000, 2, NetConfig(**FLEXNET5))),
        (
            698_503,
            lambda: FlexNet(
                3, 10, 2, NetConfig(**{**FLEXNET7, "no_hidden": 38}), conv=ConvConfig(type="SRF")
            ),
        ),
        *(
            (
                count,
                lambda i=channels, b=blocks: FlexTCN(i, 10, NetConfig(no_hidden=30, no_blocks=b)),
            )
            for channels, blocks, count in (
                (1, 2, 105_548),
                (1, 4, 239_436),
                (1, 6, 373_324),
                (3, 2, 107_588),
                (3, 4, 241_476),
                (3, 6, 375_364),
            )
        ),
        *(
            (
                count,
                lambda w=width: FlexTCN(
                    1,
                    10,
                    NetConfig(no_hidden=w, no_blocks=2, norm="LayerNorm"),
                    KernelConfig(**CKCNN_KERNEL),
                    ConvConfig(type="CKConv"),
                ),
            )
            for width, count in ((30, 98_286), (100, 1_030_546))
        ),
    ],
)
def test_parameter_counts_are_the_papers(expected, make):
    assert sum(p.numel() for p in make().parameters()) == expected
