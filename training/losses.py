"""What is minimised and what is measured, by the task."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as nnf
from torch import Tensor, nn

from ckconv import penalties

if TYPE_CHECKING:
    from cfg.schema import Config

    from datasets.task import Task


def task_loss(task: Task, output: Tensor, target: Tensor) -> Tensor:
    """The mean loss over a batch, a scalar.

    `output` is (B, out), or (B, out, length) with a target for every step.
    """
    output = output.float()
    if task.loss == "mse":
        return nnf.mse_loss(output, target.view_as(output).float())
    if task.loss == "binary":
        return nnf.binary_cross_entropy_with_logits(output, target.view_as(output).float())
    return nnf.cross_entropy(output, target)


def right_answers(task: Task, output: Tensor, target: Tensor, top: int = 1) -> Tensor:
    """How many targets are among the `top` highest outputs; classes lie along dimension 1.

    With one logit, how many have its sign.
    """
    if task.loss == "binary":
        return ((output > 0) == (target.view_as(output) > 0.5)).sum()
    guesses = output.topk(top, dim=1).indices  # (B, top) or (B, top, length)
    return (guesses == target.unsqueeze(1)).sum()


def regularization(
    model: nn.Module,
    cfg: Config,
    kernels: Mapping[nn.Module, penalties.Kernel] | None = None,
    res_offset: int | None = None,
) -> Tensor | None:
    """The sum of the penalties that are switched on, or None.

    `kernels` are those of the forward pass that is penalised, as `recorded_kernels` gives them;
    `res_offset` stands in the place of `kernel.regularize_params.res_offset`.
    """
    terms = []
    if cfg.train.weight_decay:
        terms.append(cfg.train.weight_decay * penalties.kernel_norm(model, kernels))
    if cfg.train.mask_l2_norm:
        terms.append(cfg.train.mask_l2_norm * penalties.mask_norm(model))
    if cfg.train.magnitude_reg:
        terms.append(cfg.train.magnitude_reg * penalties.magnitude(model))
    if cfg.kernel.regularize:
        terms.append(_antialiasing(model, cfg, res_offset))
    return torch.stack([term.float() for term in terms]).sum() if terms else None


def _antialiasing(model: nn.Module, cfg: Config, res_offset: int | None) -> Tensor:
    from ckconv import antialiasing

    params = cfg.kernel.regularize_params
    return antialiasing.regularizer(
        model,
        params.res,
        params.factor,
        target=params.target,
        fn=params.fn,
        method=params.method,
        gauss_stddevs=params.gauss_stddevs,
        res_offset=params.res_offset if res_offset is None else res_offset,
    )
