"""Optimizers, by name, with the parameter groups of the library."""

from __future__ import annotations

from cfg.schema import Train

from typing import Any

import torch
from torch import nn

from ckconv import parameter_groups
from ckconv.errors import pick


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
    """The optimizer of `train.optimizer`, fused where it can be.

    Weight decay is not the optimizer's: it acts on the sampled kernels, as a part of the loss.
    """
    factors = {
        "mask_lr_factor": cfg.mask_params_lr_factor,
        "omega_0_lr_factor": cfg.omega_0_lr_factor,
    }
    groups = parameter_groups(model, cfg.lr, **factors)
    fused = all(p.device.type in ("cuda", "cpu") for group in groups for p in group["params"])
    return pick("train.optimizer", cfg.optimizer, OPTIMIZERS)(groups, cfg, fused)
