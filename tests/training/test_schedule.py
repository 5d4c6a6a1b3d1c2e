"""Learning-rate schedules against the published ones, step by step."""

from __future__ import annotations

from cfg.schema import Train

import json
from pathlib import Path

import pytest
import torch

from ckconv.nn import FlexConv
from training.optimizer import build_optimizer
from training.schedule import Schedule, learning_rate_factor

GOLDEN = Path(__file__).resolve().parents[1] / "golden"
ROWS = json.loads((GOLDEN / "lr_schedules.json").read_text())


def configured(flags: dict) -> Train:
    train = Train()
    for name, value in flags.items():
        *path, leaf = name.removeprefix("train.").split(".")
        node = train
        for part in path:
            node = getattr(node, part)
        setattr(node, leaf, json.loads(value) if leaf == "decay_steps" else value)
    return train


def rates(train: Train, steps_per_epoch: int, groups: int = 1) -> list[list[float]]:
    """The rate of every parameter group before each step."""
    parameters = [{"params": [torch.nn.Parameter(torch.ones(1))]} for _ in range(groups)]
    for index, group in enumerate(parameters):
        group["lr"] = train.lr * 0.1**index
    optimizer = torch.optim.SGD(parameters)
    schedule = Schedule(optimizer, train, steps_per_epoch)
    seen = []
    for _ in range(train.epochs * steps_per_epoch):
        seen.append([group["lr"] for group in optimizer.param_groups])
        optimizer.step()
        schedule.step()
    return seen


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["config"]["train.scheduler"])
def test_golden(row):
    ours = [rate[0] for rate in rates(configured(row["config"]), row["steps_per_epoch"])]
    warm = "train.scheduler_params.warmup_epochs" in row["config"]
    # The published warm-up ends one step, 1/30 of the rate, too high.
    assert ours == pytest.approx(row["lr_before_each_step"], rel=0.05 if warm else 1e-9, abs=1e-12)


def test_warmup_reaches_the_rate_and_no_more():
    train = Train(lr=0.01, epochs=6)
    train.scheduler_params.warmup_epochs = 2
    ours = [rate[0] for rate in rates(train, 5)]
    assert ours[:11] == pytest.approx([0.001 * step for step in range(11)])
    assert max(ours) == pytest.approx(0.01)
    assert all(a >= b for a, b in zip(ours[10:], ours[11:]))


@pytest.mark.parametrize("scheduler", ["cosine", "multistep", "exponential", "none"])
def test_factors_hold_through_the_schedule(scheduler):
    train = Train(lr=0.01, epochs=5, scheduler=scheduler)
    train.scheduler_params.decay_steps = [2, 4]
    for rest, mask in rates(train, 3, groups=2):
        assert mask == pytest.approx(0.1 * rest)


def test_no_schedule_keeps_the_rate():
    assert {rate[0] for rate in rates(Train(lr=0.02, epochs=3, scheduler="none"), 4)} == {0.02}


@pytest.mark.parametrize("higher_is_better", [True, False])
def test_plateau_divides_after_patience_epochs_without_progress(higher_is_better):
    train = Train(lr=0.1, scheduler="plateau")
    train.scheduler_params.patience = 2
    train.scheduler_params.decay_factor = 5.0
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=train.lr)
    schedule = Schedule(optimizer, train, 10, higher_is_better)
    seen = []
    for result in (0.5, 0.6, 0.6, 0.5, 0.6, 0.6, 0.7):
        schedule.step()
        schedule.end_epoch(result if higher_is_better else 1 - result)
        seen.append(schedule.learning_rate)
    assert seen == pytest.approx([0.1, 0.1, 0.1, 0.1, 0.02, 0.02, 0.02])


@pytest.mark.parametrize("scheduler", ["cosine", "plateau", "multistep"])
def test_a_loaded_schedule_goes_on_where_it_was(scheduler):
    train = Train(lr=0.1, epochs=4, scheduler=scheduler)
    train.scheduler_params.decay_steps = [1, 2]
    train.scheduler_params.patience = 0

    def start():
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=train.lr)
        return optimizer, Schedule(optimizer, train, 5)

    def advance(optimizer, schedule, epochs):
        for _ in range(epochs):
            for _ in range(5):
                optimizer.step()
                schedule.step()
            schedule.end_epoch(0.5)

    whole = start()
    advance(*whole, 3)
    first = start()
    advance(*first, 1)
    second = start()
    second[0].load_state_dict(first[0].state_dict())
    second[1].load_state_dict(first[1].state_dict())
    advance(*second, 2)
    assert second[1].learning_rate == whole[1].learning_rate < 0.1


def test_masks_and_omegas_have_rates_of_their_own():
    from ckconv import KernelConfig

    layer = FlexConv(3, 4, kernel=KernelConfig(type="SIREN", learn_omega_0=True))
    train = Train(lr=0.01, mask_params_lr_factor=0.1, omega_0_lr_factor=2.0)
    groups = {group["name"]: group for group in build_optimizer(layer, train).param_groups}
    assert {name: group["lr"] for name, group in groups.items()} == pytest.approx(
        {"rest": 0.01, "omega_0": 0.02, "mask": 0.001}
    )
    assert {id(p) for p in groups["mask"]["params"]} == {id(p) for p in layer.mask.parameters()}
    assert len(groups["omega_0"]["params"]) == 2
    counted = sum(len(group["params"]) for group in groups.values())
    assert counted == len(list(layer.parameters()))


@pytest.mark.parametrize(
    "name, kind", [("Adam", torch.optim.Adam), ("RMSprop", torch.optim.RMSprop)]
)
def test_optimizers_do_not_decay_weights(name, kind):
    optimizer = build_optimizer(torch.nn.Linear(2, 2), Train(optimizer=name, weight_decay=0.1))
    assert isinstance(optimizer, kind)
    assert all(group["weight_decay"] == 0 for group in optimizer.param_groups)


def test_sgd_takes_momentum_and_nesterov():
    train = Train(optimizer="SGD")
    train.optimizer_params.momentum, train.optimizer_params.nesterov = 0.8, True
    (group,) = build_optimizer(torch.nn.Linear(2, 2), train).param_groups
    assert (group["momentum"], group["nesterov"]) == (0.8, True)


def test_a_warmup_longer_than_training_is_cut_off():
    train = Train(lr=0.1, epochs=1, scheduler="cosine")
    train.scheduler_params.warmup_epochs = 5
    factor = learning_rate_factor(train, steps_per_epoch=10)
    assert [factor(step) for step in (0, 5, 10)] == pytest.approx([0, 0.1, 0.2])
