"""The state of a training run: what a checkpoint holds."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from datasets.task import Task
from program import distributed
from program.folder import BEST, LAST
from training import checkpoints
from training.optimizer import build_optimizer
from training.schedule import Schedule


@dataclass
class Progress:
    """How far a run has come."""

    epoch: int = 0  # epochs done
    best_epoch: int = 0  # 0: nothing to choose by
    best: float | None = None  # the result of that epoch
    best_loss: float = math.inf  # its loss, which decides between equal results
    seconds: float = 0.0  # spent in epochs
    history: list[dict[str, float]] = field(default_factory=list)  # a row per epoch
    part: dict[str, Any] = field(default_factory=dict)  # of an epoch in which the run was stopped

    @property
    def is_best(self) -> bool:
        """Whether the last epoch is the best so far."""
        return self.best_epoch > 0 and self.best_epoch == self.epoch

    def end_epoch(self, row: dict[str, float], results: dict[str, float], task: Task) -> None:
        """Count an epoch. `results` are those that epochs are chosen by, empty for none."""
        self.epoch += 1
        self.seconds += row["seconds"]
        self.history.append(row)
        if results and self._is_better(results, task):
            self.best_epoch = self.epoch
            self.best, self.best_loss = results[task.metric], results["loss"]

    def _is_better(self, results: dict[str, float], task: Task) -> bool:
        if self.best is None:
            return True
        sign = 1 if task.metric == "accuracy" else -1
        new, old = sign * results[task.metric], sign * self.best
        return new > old or (new == old and results["loss"] < self.best_loss)

    def is_stuck(self, patience: int) -> bool:
        """Whether there was no better epoch for `patience` epochs; never with a patience of 0."""
        return patience > 0 and self.epoch - self.best_epoch >= patience


class Training:
    """Everything that must be kept for a run to go on as if it had never stopped."""

    def __init__(self, model: nn.Module, task: Task, cfg: Any, steps_per_epoch: int) -> None:
        self.model = model
        self.optimizer = build_optimizer(model, cfg.train)
        self.schedule = Schedule(
            self.optimizer, cfg.train, steps_per_epoch, higher_is_better=task.metric == "accuracy"
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

    def save(self, folder: Path, extra: dict[str, Any]) -> None:
        """Write `best.pt` if the last epoch is the best, then `last.pt`; every process must ask."""
        progress = {"progress": asdict(self.progress)}
        if self.progress.is_best and not self.progress.part:
            best = {"model": self.tested_model.state_dict()}
            self._write(folder / BEST, best | progress | extra)
        last = {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "averaged": self.averaged.state_dict() if self.averaged else None,
            "random": distributed.gathered(checkpoints.random_state()),
        }
        self._write(folder / LAST, last | progress | extra)
        distributed.barrier()  # nobody reads them, or leaves, before they are written

    @staticmethod
    def _write(path: Path, content: dict[str, Any]) -> None:
        if distributed.is_main():
            checkpoints.save(path, content)

    def load(self, saved: dict[str, Any]) -> None:
        """Go on from the content of a `last.pt`."""
        self.model.load_state_dict(saved["model"])
        self.optimizer.load_state_dict(saved["optimizer"])
        self.schedule.load_state_dict(saved["schedule"])
        if self.averaged:
            self.averaged.load_state_dict(saved["averaged"])
        self.progress = Progress(**saved["progress"])
        if distributed.rank() < len(saved["random"]):
            checkpoints.set_random_state(saved["random"][distributed.rank()])

    def load_tested_weights(self, folder: Path) -> None:
        """Leave in the model what is to be tested: the best epoch's weights, or the last one's."""
        if self.progress.best_epoch:
            self.model.load_state_dict(checkpoints.read(folder / BEST)["model"])
        elif self.averaged:
            self.model.load_state_dict(self.averaged.module.state_dict())


def averaged_model(model: nn.Module, decay: float) -> AveragedModel | None:
    """The exponential moving average of the weights of `train.ema`; buffers are the latest."""
    if not decay:
        return None
    return AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(decay))
