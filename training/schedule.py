"""Learning-rate schedules, per optimizer step or per epoch."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch.optim.lr_scheduler import LambdaLR, ReduceLROnPlateau

if TYPE_CHECKING:
    from cfg.schema import Train

LOWEST = 1e-6  # the learning rate in which a cosine schedule ends


def learning_rate_factor(cfg: Train, steps_per_epoch: int) -> Callable[[int], float]:
    """The function from the number of optimizer steps done to the factor on the learning rate.

    A warm-up of w steps rises linearly from zero and reaches the full rate at step w; the
    cosine starts on the next step and would end in `LOWEST` at step `epochs * steps_per_epoch`.
    """
    params = cfg.scheduler_params
    warmup = max(0, params.warmup_epochs) * steps_per_epoch
    cosine_steps = max(1, cfg.epochs * steps_per_epoch - warmup)
    cosine_start = warmup + 1 if warmup else 0
    lowest = LOWEST / cfg.lr

    def factor(step: int) -> float:
        if step <= warmup and warmup:
            return step / warmup
        if cfg.scheduler == "cosine":
            phase = min(1.0, (step - cosine_start) / cosine_steps)
            return lowest + (1 - lowest) * 0.5 * (1 + math.cos(math.pi * phase))
        epoch = step // steps_per_epoch
        if cfg.scheduler == "multistep":
            return params.decay_factor ** -sum(epoch >= decay for decay in params.decay_steps)
        if cfg.scheduler == "exponential":
            return params.decay_factor**epoch
        return 1.0

    return factor


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
    ) -> None:
        self.optimizer = optimizer
        self.per_epoch = cfg.scheduler == "plateau"
        self.scheduler: ReduceLROnPlateau | LambdaLR
        if self.per_epoch:
            self.scheduler = ReduceLROnPlateau(
                optimizer,
                mode="max" if higher_is_better else "min",
                factor=1 / cfg.scheduler_params.decay_factor,
                patience=cfg.scheduler_params.patience,
            )
        else:
            self.scheduler = LambdaLR(optimizer, learning_rate_factor(cfg, steps_per_epoch))

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
