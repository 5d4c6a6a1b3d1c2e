"""Optimizers: a layer may give its parameters a learning rate of their own."""

from __future__ import annotations

from cfg.schema import Train

from typing import Any

import torch
from torch import nn

from ckconv.errors import pick


def parameter_groups(model: nn.Module, cfg: Train) -> list[dict[str, Any]]:
    """The trained parameters in groups, each with its learning rate: the rest, omega_0s, masks.

    A layer names the group of a parameter of its own in `learning_rate_groups`.
    """
    factors = {"rest": 1.0, "omega_0": cfg.omega_0_lr_factor, "mask": cfg.mask_params_lr_factor}
    groups: dict[str, dict[nn.Parameter, None]] = {name: {} for name in factors}
    for module in model.modules():
        own = getattr(module, "learning_rate_groups", {})
        for name, parameter in module.named_parameters(recurse=False):
            if parameter.requires_grad:
                groups[own.get(name, "rest")][parameter] = None
    return [
        {"params": list(parameters), "lr": cfg.lr * factors[name], "name": name}
        for name, parameters in groups.items()
        if parameters
    ]


def _sgd(groups: list[dict[str, Any]], cfg: Train, fused: bool) -> torch.optim.Optimizer:
    params = cfg.optimizer_params
    settings = {"momentum": params.momentum, "nesterov": params.nesterov}
    return torch.optim.SGD(groups, lr=cfg.lr, fused=fused, **settings)


OPTIMIZERS = {  # by their names in `train.optimizer`: (parameter groups, train, fused) -> optimizer
    "Adam": lambda groups, cfg, fused: torch.optim.Adam(groups, lr=cfg.lr, fused=fused),
    "SGD": _sgd,
    "RMSprop": lambda groups, cfg, fused: torch.optim.RMSprop(groups, lr=cfg.lr),
}


def build_optimizer(model: nn.Module, cfg: Train) -> torch.optim.Optimizer:
    """The optimizer of `train.optimizer`, fused on CUDA where it can be.

    Weight decay is not the optimizer's: it acts on the sampled kernels, as a part of the loss.
    """
    groups = parameter_groups(model, cfg)
    on_cuda = all(p.is_cuda for group in groups for p in group["params"])
    return pick("train.optimizer", cfg.optimizer, OPTIMIZERS)(groups, cfg, on_cuda)
