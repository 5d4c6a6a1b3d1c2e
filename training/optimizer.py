"""Optimizers: the masks and the omega_0s have learning rates of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from ckconv.nn import GaussianMask

if TYPE_CHECKING:
    from cfg.schema import Train


def parameter_groups(model: nn.Module, cfg: Train) -> list[dict]:
    """The parameters in three groups, each with its learning rate: masks, omega_0s, the rest."""
    masks = {
        id(parameter)
        for module in model.modules()
        if isinstance(module, GaussianMask)
        for parameter in module.parameters()
    }
    groups: dict[str, list[nn.Parameter]] = {"rest": [], "omega_0": [], "mask": []}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        kind = "omega_0" if name.rpartition(".")[2] == "omega_0" else "rest"
        groups["mask" if id(parameter) in masks else kind].append(parameter)
    factors = {
        "rest": 1.0,
        "omega_0": cfg.omega_0_lr_factor,
        "mask": cfg.mask_params_lr_factor,
    }
    return [
        {"params": parameters, "lr": cfg.lr * factors[name], "name": name}
        for name, parameters in groups.items()
        if parameters
    ]


def build_optimizer(model: nn.Module, cfg: Train) -> torch.optim.Optimizer:
    """The optimizer of `train.optimizer`, fused on CUDA.

    Weight decay is not the optimizer's: it acts on the sampled kernels, as a part of the loss.
    """
    groups = parameter_groups(model, cfg)
    on_cuda = all(p.is_cuda for group in groups for p in group["params"])
    if cfg.optimizer == "Adam":
        return torch.optim.Adam(groups, lr=cfg.lr, fused=on_cuda)
    if cfg.optimizer == "SGD":
        params = cfg.optimizer_params
        return torch.optim.SGD(
            groups, lr=cfg.lr, momentum=params.momentum, nesterov=params.nesterov, fused=on_cuda
        )
    return torch.optim.RMSprop(groups, lr=cfg.lr)
