"""The state of a training run: what a checkpoint holds."""

from __future__ import annotations

from cfg.schema import Config

from typing import Any

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from datasets.task import Task
from training import checkpoints
from training.checkpoints.saved import check_alike, check_optimizer, check_weights_of
from training.optimizer import build_optimizer
from training.report.layers import layer_values
from training.report.progress import Progress
from training.schedule import Schedule


class Training:
    """Everything that must be kept for a run to go on as if it had never stopped.

    It is a training of `epochs` epochs, of `train.epochs` where none are given; `res_offset`
    likewise stands in the place of `kernel.regularize_params.res_offset`.
    """

    def __init__(
        self,
        model: nn.Module,
        task: Task,
        cfg: Config,
        steps_per_epoch: int,
        epochs: int | None = None,
        res_offset: int | None = None,
    ) -> None:
        self.model, self.res_offset = model, res_offset
        self.lr = cfg.train.lr
        self.epochs = cfg.train.epochs if epochs is None else epochs
        self.optimizer = build_optimizer(model, cfg.train)
        self.schedule = Schedule(
            self.optimizer,
            cfg.train,
            steps_per_epoch,
            higher_is_better=task.higher_is_better,
            epochs=self.epochs,
        )
        self.averaged = averaged_model(model, cfg.train.ema)
        self.progress = Progress()
        self.forward = torch.compile(model) if cfg.train.compile else model

    @property
    def tested_model(self) -> nn.Module:
        """The network that is evaluated: the averaged one where there is one."""
        return self.averaged.module if self.averaged else self.model

    def step(self) -> None:
        """Take an optimizer step on the gradients that are there."""
        self.optimizer.step()
        self.schedule.step()
        if self.averaged:
            self.averaged.update_parameters(self.model)

    def end_epoch(self, row: dict[str, float], results: dict[str, float], task: Task) -> None:
        """Count an epoch; its row tells every layer's kernel size and mask too."""
        self.progress.end_epoch(row | layer_values(self.tested_model), results, task)

    def state_dict(self) -> dict[str, Any]:
        """What `load` needs to go on from here, beside the progress; every process must ask."""
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "averaged": self.averaged.state_dict() if self.averaged else None,
            "random": checkpoints.random_states(),
        }

    @property
    def is_at_best(self) -> bool:
        """Whether the weights are those of the best epoch, as it ended."""
        return self.progress.is_best and not self.progress.part

    def load(self, saved: dict[str, Any]) -> None:
        """Go on from the content of a `last.pt`. Raises an error for one of another run."""
        check_weights_of(saved["model"], self.model, "model")
        check_optimizer(saved["optimizer"], self.optimizer)
        check_alike(saved["schedule"], self.schedule.state_dict(), "schedule")
        self.model.load_state_dict(saved["model"])
        self.optimizer.load_state_dict(saved["optimizer"])
        self.schedule.load_state_dict(saved["schedule"])
        if self.averaged:
            check_weights_of(saved["averaged"], self.averaged, "averaged")
            self.averaged.load_state_dict(saved["averaged"])
        self.progress = Progress(**saved["progress"])
        checkpoints.set_random_state(saved["random"])


def averaged_model(model: nn.Module, decay: float) -> AveragedModel | None:
    """The exponential moving average of the weights of `train.ema`; buffers are the latest."""
    if not decay:
        return None
    return AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(decay))
