"""What networks hand to their layers."""

from __future__ import annotations

import dataclasses

import pytest

from ckconv import ConvConfig, KernelConfig, MaskConfig, NetConfig, UsageError, fields
from ckconv.models import FlexNet, FlexTCN
from ckconv.models.blocks import conv_factory
from ckconv.nn import FlexConv


@pytest.mark.parametrize("conv_type", ["FlexConv", "SepFlexConv", "CKConv"])
def test_a_network_looks_at_each_config_once(
    monkeypatch: pytest.MonkeyPatch, conv_type: str
) -> None:
    looked_at = []
    check = fields.check

    def counted(kind: type, settings: object, prefix: str = "") -> None:
        looked_at.append(kind)
        check(kind, settings, prefix)

    monkeypatch.setattr(fields, "check", counted)
    net, conv = NetConfig(no_hidden=4, no_blocks=3), ConvConfig(type=conv_type)
    FlexNet(1, 3, 2, net, KernelConfig(no_hidden=4), conv, MaskConfig())
    FlexTCN(1, 3, net, KernelConfig(no_hidden=4), conv, MaskConfig())
    assert all(looked_at.count(kind) <= 2 for kind in set(looked_at))
    assert {NetConfig, KernelConfig, ConvConfig} <= set(looked_at)


@pytest.mark.parametrize("part", [KernelConfig(no_layers=0), ConvConfig(stride=0)])
def test_what_is_wrong_with_a_config_is_said_before_a_layer_is_made(part: object) -> None:
    given = {"kernel": KernelConfig(), "conv": ConvConfig(), "mask": MaskConfig(threshold=0.2)}
    (name,) = (key for key, value in given.items() if type(value) is type(part))
    with pytest.raises(UsageError, match=name):
        conv_factory(2, **given | {name: part})
    with pytest.raises(UsageError, match=name):
        FlexConv(1, 1, 2, **given | {name: part})


def test_configs_are_left_as_they_are() -> None:
    mask = MaskConfig()
    before = dataclasses.asdict(mask)
    conv_factory(1, mask=mask)(2, 3)
    assert dataclasses.asdict(mask) == before
