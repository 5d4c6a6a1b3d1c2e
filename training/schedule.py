"""Learning-rate schedules, per optimizer step or per epoch."""

from __future__ import annotations

from cfg.schema import Train

import math
from collections.abc import Callable
from typing import Any

import torch
from torch.optim.lr_scheduler import LambdaLR, ReduceLROnPlateau

from ckconv.errors import pick

LOWEST = 1e-6  # the learning rate in which a cosine schedule ends

Factor = Callable[[int], float]  # from the number of optimizer steps done


def cosine(cfg: Train, steps_per_epoch: int, warmup: int, epochs: int) -> Factor:
    """Half a cosine from the step after the warm-up, which would end in `LOWEST` at the last."""
    steps = max(1, epochs * steps_per_epoch - warmup)
    start = warmup + 1 if warmup else 0
    lowest = LOWEST / cfg.lr

    def factor(step: int) -> float:
        phase = min(1.0, (step - start) / steps)
        return lowest + (1 - lowest) * 0.5 * (1 + math.cos(math.pi * phase))

    return factor


def multistep(cfg: Train, steps_per_epoch: int, warmup: int, epochs: int) -> Factor:
    """The rate divided by `decay_factor` after each of the epochs `decay_steps`."""
    steps, base = list(cfg.scheduler_params.decay_steps), cfg.scheduler_params.decay_factor
    return lambda step: base ** -sum(step // steps_per_epoch >= epoch for epoch in steps)


def exponential(cfg: Train, steps_per_epoch: int, warmup: int, epochs: int) -> Factor:
    """The rate multiplied by `decay_factor` every epoch."""
    base = cfg.scheduler_params.decay_factor
    return lambda step: base ** (step // steps_per_epoch)


def constant(cfg: Train, steps_per_epoch: int, warmup: int, epochs: int) -> Factor:
    """The rate as it is."""
    return lambda step: 1.0


# By their names in `train.scheduler`. A plateau follows the results of epochs, not the steps.
SCHEDULES: dict[str, Callable[[Train, int, int, int], Factor] | None] = {
    "cosine": cosine,
    "plateau": None,
    "multistep": multistep,
    "exponential": exponential,
    "none": constant,
}


def learning_rate_factor(cfg: Train, steps_per_epoch: int, epochs: int | None = None) -> Factor:
    """The function from the number of optimizer steps done to the factor on the learning rate.

    A warm-up of w steps rises linearly from zero and reaches the full rate at step w. The
    training has `epochs`, `train.epochs` where they are not given.
    """
    epochs = cfg.epochs if epochs is None else epochs
    warmup = max(0, cfg.scheduler_params.warmup_epochs) * steps_per_epoch
    schedule = pick("train.scheduler", cfg.scheduler, SCHEDULES)
    after = schedule(cfg, steps_per_epoch, warmup, epochs)
    return lambda step: step / warmup if warmup and step <= warmup else after(step)


class Schedule:
    """The schedule of `train.scheduler` on an optimizer's parameter groups.

    Call `step` after each optimizer step and `end_epoch` after each epoch, with the result that
    a plateau is judged by.
    """

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        cfg: Train,
        steps_per_epoch: int,
        higher_is_better: bool = True,
        epochs: int | None = None,
    ) -> None:
        self.optimizer = optimizer
        self.per_epoch = pick("train.scheduler", cfg.scheduler, SCHEDULES) is None
        self.scheduler: ReduceLROnPlateau | LambdaLR
        if self.per_epoch:
            self.scheduler = ReduceLROnPlateau(
                optimizer,
                mode="max" if higher_is_better else "min",
                factor=1 / cfg.scheduler_params.decay_factor,
                patience=cfg.scheduler_params.patience,
            )
        else:
            factor = learning_rate_factor(cfg, steps_per_epoch, epochs)
            self.scheduler = LambdaLR(optimizer, factor)

    @property
    def learning_rate(self) -> float:
        """The rate of the first parameter group, which has no factor of its own."""
        return self.optimizer.param_groups[0]["lr"]

    def step(self) -> None:
        """Follow an optimizer step."""
        if not self.per_epoch:
            self.scheduler.step()

    def end_epoch(self, result: float | None) -> None:
        """Follow an epoch that gave this validation result."""
        if self.per_epoch and result is not None:
            self.scheduler.step(result)

    def state_dict(self) -> dict[str, Any]:
        return {k: v for k, v in self.scheduler.state_dict().items() if k != "lr_lambdas"}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        if self.per_epoch:
            self.scheduler.load_state_dict(state)
        else:
            self.scheduler.load_state_dict(
                {**state, "lr_lambdas": [None] * len(self.scheduler.lr_lambdas)}
            )
