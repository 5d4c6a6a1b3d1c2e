"""The state of a training run: what a checkpoint holds."""

from __future__ import annotations

from cfg.schema import Config

from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from datasets.task import Task
from program import distributed
from program.folder import BEST, LAST
from training import checkpoints
from training.finite import check_weights
from training.optimizer import build_optimizer
from training.report.progress import Progress
from training.schedule import Schedule


class Training:
    """Everything that must be kept for a run to go on as if it had never stopped.

    It is a training of `epochs` epochs, of `train.epochs` where none are given.
    """

    def __init__(
        self,
        model: nn.Module,
        task: Task,
        cfg: Config,
        steps_per_epoch: int,
        epochs: int | None = None,
    ) -> None:
        self.model = model
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

    def save(self, folder: Path, extra: dict[str, Any]) -> None:
        """Write `best.pt` if the last epoch is the best, then `last.pt`; every process must ask.

        Raises `UsageError`, and leaves both as they are, for weights that are not finite.
        """
        for model in (self.model, self.tested_model):
            check_weights(model, self.progress.epoch, self.lr)
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
