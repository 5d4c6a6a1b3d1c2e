"""The anti-aliasing loss in training, by its flags."""

from __future__ import annotations

import pytest
import torch
from fakes import make_config

from ckconv import ConvConfig
from ckconv.antialiasing import regularizer
from ckconv.nn import FlexConv
from training.losses import regularization


def layer() -> FlexConv:
    torch.manual_seed(0)
    made = FlexConv(1, 2, conv=ConvConfig(horizon="17"))
    made(torch.randn(1, 1, 16, 16))
    return made


def config(**params):
    cfg = make_config()
    cfg.kernel.regularize = True
    for name, value in params.items():
        assert hasattr(cfg.kernel.regularize_params, name)
        setattr(cfg.kernel.regularize_params, name, value)
    return cfg


@pytest.mark.parametrize(
    ("params", "res", "settings"),
    [
        ({}, 17, {}),
        ({"res": 9}, 9, {}),
        ({"res_offset": -4}, 13, {}),
        ({"res": 9, "res_offset": 2}, 11, {}),
        ({"target": "gabor"}, 17, {"target": "gabor"}),
        ({"fn": "offset_elu"}, 17, {"fn": "offset_elu"}),
        (
            {"method": "summed", "gauss_stddevs": 1.0},
            17,
            {"method": "summed", "gauss_stddevs": 1.0},
        ),
    ],
    ids=lambda value: "-".join(map(str, value.values())) if isinstance(value, dict) else "",
)
def test_the_flags_reach_the_regularizer(params, res, settings):
    made = layer()
    penalty = regularization(made, config(factor=0.3, **params))
    assert penalty.item() == pytest.approx(regularizer(made, res, 0.3, **settings).item())
    assert penalty.item() > 0


def test_off_by_default():
    assert regularization(layer(), make_config()) is None
