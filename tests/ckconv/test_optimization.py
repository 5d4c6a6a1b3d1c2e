"""`ckconv.parameter_groups`: what is decayed, and what learns slowly."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize, prune

from ckconv import FlexConv2d, KernelConfig, SepFlexConv2d, parameter_groups


def network():
    siren = KernelConfig(type="SIREN", no_hidden=8, learn_omega_0=True)
    layer = FlexConv2d(2, 4, 9, generator=siren, sigma=0.3)
    return nn.Sequential(layer, nn.BatchNorm2d(4), SepFlexConv2d(4, 4, 9), nn.Conv2d(4, 2, 1))


def named(model, **how):
    return {group["name"]: group for group in parameter_groups(model, 0.01, **how)}


def test_masks_and_omegas_learn_slowly_and_are_not_decayed():
    model = network()
    groups = named(model, weight_decay=0.1, omega_0_lr_factor=2)
    rates = {name: (group["lr"], group["weight_decay"]) for name, group in groups.items()}
    expected = {"rest": (0.01, 0.1), "omega_0": (0.02, 0.0), "mask": (0.001, 0.0)}
    assert rates == {name: pytest.approx(value) for name, value in expected.items()}
    masks = [*model[0].mask.parameters(), *model[2].mask.parameters()]
    assert {id(p) for p in groups["mask"]["params"]} == {id(p) for p in masks}
    counts = {name: len(group["params"]) for name, group in groups.items()}
    assert counts["omega_0"] == 2 and sum(counts.values()) == len(list(model.parameters()))


def test_a_step_without_gradients_decays_the_rest_alone():
    model = network()
    before = {name: p.clone() for name, p in model.named_parameters()}
    optimizer = torch.optim.AdamW(parameter_groups(model, 0.1, weight_decay=0.5))
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    for name, parameter in model.named_parameters():
        is_kept = torch.equal(parameter, before[name])
        assert is_kept == ("mask" in name or "omega_0" in name or not before[name].any()), name


class Doubled(nn.Module):
    def forward(self, x):
        return 2 * x


def test_pruned_parametrized_and_frozen_parameters():
    model = network()
    prune.identity(model[0].mask, "sigma")
    parametrize.register_parametrization(model[2].mask, "sigma", Doubled())
    model[3].requires_grad_(False)
    groups = named(model)
    assert len(groups["mask"]["params"]) == 3
    assert not {id(p) for p in model[3].parameters()} & {id(p) for p in groups["rest"]["params"]}
    assert list(named(nn.Linear(2, 2))) == ["rest"]
