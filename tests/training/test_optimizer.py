"""Optimizers: fused ones, and the folders of runs that were begun without."""

from copy import deepcopy

import pytest
import torch
from torch import nn

from program.command_line import compose
from training.optimizer import build_optimizer


def steps(optimizer, parameters, count):
    for index in range(count):
        for parameter in parameters:
            parameter.grad = torch.cos(parameter.detach() + index)
        optimizer.step()


@pytest.mark.parametrize("name", ["Adam", "SGD"])
def test_a_run_that_was_begun_unfused_goes_on_so_to_the_bit(name):
    torch.manual_seed(0)
    cfg = compose([f"train.optimizer={name}"]).train
    old, new = nn.Linear(9, 7), nn.Linear(9, 7)
    before = build_optimizer(old, cfg)
    for group in before.param_groups:
        group["fused"] = False
    steps(before, list(old.parameters()), 3)
    new.load_state_dict(old.state_dict())
    optimizer = build_optimizer(new, cfg)
    assert all(group["fused"] for group in optimizer.param_groups)
    optimizer.load_state_dict(deepcopy(before.state_dict()))
    steps(before, list(old.parameters()), 3)
    steps(optimizer, list(new.parameters()), 3)
    for ours, theirs in zip(new.parameters(), old.parameters()):
        assert torch.equal(ours, theirs)


def test_a_fused_optimizer_steps_as_the_other_one():
    torch.manual_seed(0)
    cfg = compose(["train.optimizer=Adam"]).train
    ours, theirs = nn.Linear(9, 7), nn.Linear(9, 7)
    theirs.load_state_dict(ours.state_dict())
    steps(build_optimizer(ours, cfg), list(ours.parameters()), 4)
    steps(
        torch.optim.Adam(theirs.parameters(), lr=cfg.lr, fused=False), list(theirs.parameters()), 4
    )
    for fused, plain in zip(ours.parameters(), theirs.parameters()):
        torch.testing.assert_close(fused, plain, rtol=1e-5, atol=1e-7)
