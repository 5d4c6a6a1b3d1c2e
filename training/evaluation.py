"""Losses and metrics that are exact over the samples, whatever the batches and processes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from ckconv.errors import UsageError
from ckconv.nn import kept_kernels
from program.device import autocast
from program.distributed import gathered, sum_over_ranks
from program.progress import shown
from training.losses import right_answers, task_loss

if TYPE_CHECKING:
    from cfg.schema import Train

    from datasets.task import Loader, Loaders, Task


class Totals:
    """Running sums of a task's loss and metric, kept on the device and read once at the end.

    `earlier` are the sums over all processes that `whole` gave before a run was stopped.
    """

    def __init__(self, task: Task, top5: bool = False, earlier: list[float] | None = None) -> None:
        self.task, self.top5 = task, top5
        self.sums: Tensor | None = None  # loss, right, right among five, targets
        self.earlier = earlier or [0.0] * 4
        self.scores: list[Tensor] | None = None  # (B, 2) each, where `keep_scores` was asked

    @torch.no_grad()
    def add(self, output: Tensor, target: Tensor, loss: Tensor) -> None:
        """Count a batch, given its mean loss."""
        right = right5 = loss.new_zeros(())
        if self.task.metric != "mse":
            right = right_answers(self.task, output, target)
            right5 = right_answers(self.task, output, target, 5) if self.top5 else right5
        count = target.numel()
        sums = torch.stack([loss.double() * count, right.double(), right5.double()])
        sums = torch.cat([sums, sums.new_tensor([count])])  # (4,)
        self.sums = sums if self.sums is None else self.sums + sums

    def keep_scores(self, output: Tensor, target: Tensor) -> None:
        """Keep a batch's outputs and targets, for a metric that needs all of them."""
        pairs = torch.stack((output.flatten().float(), target.flatten().float()), dim=1)
        self.scores = [*(self.scores or []), pairs.cpu()]

    def whole(self) -> list[float]:
        """The sums over all processes: every process must ask."""
        own = torch.zeros(4, dtype=torch.float64) if self.sums is None else self.sums.cpu()
        return [a + b for a, b in zip(self.earlier, sum_over_ranks(own).tolist())]

    def results(self) -> dict[str, float]:
        """`loss`; `accuracy`, `top5`, `auc` (fractions of one) or `mse`; how many `targets`.

        Over all processes, as `whole`; empty where nothing was counted.
        """
        loss, right, right5, count = self.whole()
        if not count:
            return {}
        results = {"loss": loss / count}
        if self.scores is not None:
            results["auc"] = area_under_curve(self.scores, self.task)
        if self.task.metric != "mse":
            results["accuracy"] = right / count
            if self.top5:
                results["top5"] = right5 / count
        else:
            results["mse"] = loss / count
        return {**results, "targets": int(count)}


@torch.no_grad()
def evaluate(
    model: nn.Module,
    loader: Loader,
    task: Task,
    precision: str = "fp32",
    top5: bool = False,
    text: str = "test batch",
) -> dict[str, float]:
    """The results of `Totals` over a whole split, in evaluation mode; `text` is shown meanwhile."""
    was_training = model.training
    model.eval()
    device = next(model.parameters()).device
    totals = Totals(task, top5)
    if task.metric == "auc":
        totals.scores = []  # also where this process has no samples
    with kept_kernels(model):
        for inputs, target, *lengths in shown(loader.batches(), text, len(loader)):
            with autocast(device, precision):
                output = model(inputs, *lengths)
            totals.add(output, target, task_loss(task, output, target))
            if task.metric == "auc":
                totals.keep_scores(output, target)
    model.train(was_training)
    return totals.results()


def judged_split(loaders: Loaders, train: Train) -> Loader | None:
    """The split by which epochs are chosen; None where no samples are held out for it.

    Raises `UsageError` where the schedule or the early stop needs one.
    """
    judged = loaders.test if train.select_on == "test" else loaders.validation
    if judged is None and (train.scheduler == "plateau" or train.early_stop):
        plateau = train.scheduler == "plateau"
        flag = "scheduler=plateau" if plateau else f"early_stop={train.early_stop}"
        raise UsageError(
            f"train.{flag}: needs samples that are held out; set dataset_params.val_fraction over "
            "0, or train.select_on=test"
        )
    return judged


def area_under_curve(scores: list[Tensor], task: Task) -> float:
    """The area under the ROC curve of outputs and targets (B, 2), over all processes."""
    from sklearn.metrics import roc_auc_score

    outputs, targets = torch.cat(gathered(torch.cat([torch.zeros(0, 2), *scores]))).T
    if targets.min() == targets.max():
        raise UsageError(
            f"dataset={task.name}: all {len(targets)} samples of a split are of one class, which "
            "has no area under the ROC curve; give more data"
        )
    return float(roc_auc_score(targets.numpy(), outputs.numpy()))
