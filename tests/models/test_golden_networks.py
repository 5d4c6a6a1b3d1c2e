"""Whole networks against the numbers and parameter counts of the published implementation."""

from __future__ import annotations

import json

import pytest
import torch
from conftest import GOLDEN

from ckconv import ConvConfig, KernelConfig, MaskConfig, published
from models import FlexNet, FlexTCN, NetConfig

PATHS = [path for name in ("flexnet", "flextcn", "cktcn") for path in GOLDEN.glob(f"{name}*.npz")]


def load_network(path):
    import numpy as np

    arrays = np.load(path)
    data = {name: torch.from_numpy(arrays[name]) for name in arrays.files if name != "config"}
    config = json.loads(str(arrays["config"]))
    state = {k.removeprefix("state/"): v for k, v in data.items() if k.startswith("state/")}
    grads = {k.removeprefix("grad/"): v for k, v in data.items() if k.startswith("grad/")}
    return build_network(config), config, data, state, grads


def build_network(config):
    def settings(prefix):
        flags = {k.removeprefix(prefix): v for k, v in config.items() if k.startswith(prefix)}
        return {k: str(v) if k in ("horizon", "use_fft") else v for k, v in flags.items()}

    net = settings("net.")
    if "block_width_factors" in net:
        net["block_width_factors"] = json.loads(net["block_width_factors"])
    parts = {
        "net": NetConfig(type=config["net"], **net),
        "kernel": KernelConfig(**settings("kernel.")),
        "conv": ConvConfig(**settings("conv.")),
        "mask": MaskConfig(**settings("mask.")),
    }
    if config["net"] == "FlexTCN":
        return FlexTCN(config["in_channels"], config["out_channels"], **parts)
    dim = config["kernel.dim_linear"]
    return FlexNet(config["in_channels"], config["out_channels"], dim, **parts)


def error(got, expected):
    return ((got - expected).norm() / expected.norm()).item()


@pytest.mark.parametrize("path", sorted(PATHS), ids=lambda p: p.stem)
def test_network_matches(path):
    model, _, data, state, grads = load_network(path)
    assert sum(p.numel() for p in model.parameters()) == data["n_parameters"]
    published.load_state_dict(model, state)
    model.eval()
    with torch.no_grad():
        assert error(model(data["x"]), data["y"]) < 1e-4
    model.train()
    y = model(data["x"])
    assert error(y, data["y_train"]) < 1e-4
    loss = torch.nn.functional.cross_entropy(y, data["target"])
    assert loss.item() == pytest.approx(data["loss_train"].item(), rel=1e-4)
    loss.backward()
    own = dict(model.named_parameters())
    expected = published.translate(model, grads)
    assert expected.keys() <= own.keys() and expected
    for name, value in expected.items():
        assert error(own[name].grad, value) < 1e-3, name


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
