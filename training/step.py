"""One optimizer step."""

from __future__ import annotations

from cfg.schema import Config

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ckconv.nn import recorded_kernels
from datasets.task import Task
from program import device, distributed
from training.evaluation import Totals
from training.losses import regularization, task_loss
from training.state import Training


@torch.no_grad()
def loss_after(training: Training, batch: Sequence[Tensor], task: Task, cfg: Config) -> Tensor:
    """The mean loss of a batch that has been trained on, in evaluation mode."""
    model, (inputs, target, *lengths) = training.tested_model, batch
    was_training = model.training
    model.eval()
    with device.autocast(inputs.device, cfg.train.precision):
        output = model(inputs, *lengths)
    model.train(was_training)
    return task_loss(task, output, target)


def train_step(
    training: Training, batch: Sequence[Tensor], task: Task, cfg: Config, totals: Totals
) -> Tensor:
    """One optimizer step on one batch, as a loader gives it; returns its loss with penalties.

    With `train.accumulate` the batch goes through the network in parts, each weighted by its
    share, so that the gradients are those of the whole batch.
    """
    model, inputs = training.model, batch[0]
    parts = list(zip(*(tensor.chunk(cfg.train.accumulate) for tensor in batch)))
    whole_loss = torch.zeros((), device=inputs.device)
    training.optimizer.zero_grad(set_to_none=True)
    for index, (part, part_target, *lengths) in enumerate(parts):
        precision = device.autocast(inputs.device, cfg.train.precision)
        with precision, recorded_kernels(model) as kernels:
            output = training.forward(part, *lengths)
        mean_loss = task_loss(task, output, part_target)
        totals.add(output, part_target, mean_loss.detach())
        loss = mean_loss * (len(part) / len(inputs))
        if index == len(parts) - 1:  # the kernels, and so the penalties, are the same for all parts
            penalty = regularization(model, cfg, kernels, training.res_offset)
            loss = loss if penalty is None else loss + penalty
        loss.backward()
        whole_loss += loss.detach()
    distributed.average_gradients(model)
    if cfg.train.grad_clip:
        nn.utils.clip_grad_norm_(model.parameters(), cfg.train.grad_clip)
    training.step()
    return whole_loss
