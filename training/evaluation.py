"""Losses and accuracies that are exact sums over the samples, whatever the batches."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from ckconv.nn import kept_kernels
from program.device import autocast
from program.distributed import sum_over_ranks
from training.losses import right_answers, task_loss

if TYPE_CHECKING:
    from datasets.task import Loader, Task


class Totals:
    """Running sums of a task's loss and metric, kept on the device and read once at the end.

    `earlier` are the sums over all processes that `whole` gave before a run was stopped.
    """

    def __init__(self, task: Task, top5: bool = False, earlier: list[float] | None = None) -> None:
        self.task, self.top5 = task, top5
        self.sums: Tensor | None = None  # loss, right, right among five, targets
        self.earlier = earlier or [0.0] * 4

    @torch.no_grad()
    def add(self, output: Tensor, target: Tensor, loss: Tensor) -> None:
        """Count a batch, given its mean loss."""
        right = right5 = loss.new_zeros(())
        if self.task.metric == "accuracy":
            right = right_answers(self.task, output, target)
            right5 = right_answers(self.task, output, target, 5) if self.top5 else right5
        count = target.numel()
        sums = torch.stack([loss.double() * count, right.double(), right5.double()])
        sums = torch.cat([sums, sums.new_tensor([count])])  # (4,)
        self.sums = sums if self.sums is None else self.sums + sums

    def whole(self) -> list[float]:
        """The sums over all processes: every process must ask."""
        own = torch.zeros(4, dtype=torch.float64) if self.sums is None else self.sums.cpu()
        return [a + b for a, b in zip(self.earlier, sum_over_ranks(own).tolist())]

    def results(self) -> dict[str, float]:
        """`loss` and `accuracy` (and `top5`, fractions of one) or `mse`, and how many `targets`.

        Over all processes, as `whole`; empty where nothing was counted.
        """
        loss, right, right5, count = self.whole()
        if not count:
            return {}
        results = {"loss": loss / count}
        if self.task.metric == "accuracy":
            results["accuracy"] = right / count
            if self.top5:
                results["top5"] = right5 / count
        else:
            results["mse"] = loss / count
        return {**results, "targets": int(count)}


@torch.no_grad()
def evaluate(
    model: nn.Module, loader: Loader, task: Task, precision: str = "fp32", top5: bool = False
) -> dict[str, float]:
    """The results of `Totals` over a whole split, in evaluation mode."""
    was_training = model.training
    model.eval()
    device = next(model.parameters()).device
    totals = Totals(task, top5)
    with kept_kernels(model):
        for inputs, target in loader.batches():
            with autocast(device, precision):
                output = model(inputs)
            totals.add(output, target, task_loss(task, output, target))
    model.train(was_training)
    return totals.results()
