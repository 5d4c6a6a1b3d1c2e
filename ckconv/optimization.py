"""What an optimizer should know of a network with continuous kernels."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import nn


def parameter_groups(
    model: nn.Module,
    lr: float,
    mask_lr_factor: float = 0.1,
    weight_decay: float = 0.0,
    omega_0_lr_factor: float = 1.0,
) -> list[dict[str, Any]]:
    """The trained parameters in groups for an optimizer: the rest, omega_0s, masks.

        optimizer = torch.optim.AdamW(ckconv.parameter_groups(model, lr=0.001, weight_decay=1e-4))

    A layer names the group of a parameter of its own in `learning_rate_groups`.

    Args:
        model: any network.
        lr: learning rate of ordinary parameters.
        mask_lr_factor: times `lr`, that of masks: their means and sigmas.
        weight_decay: of ordinary parameters. Masks and omega_0s have none: it would narrow every
            kernel and slow every sine. Decaying sampled kernels instead of the weights of their
            generators is what `ckconv.penalties.kernel_norm` does.
        omega_0_lr_factor: times `lr`, that of learned omega_0s.

    Returns:
        Those there are of `rest`, `omega_0`, `mask`: `params`, `lr`, `weight_decay` and `name`.
    """
    factors = {"rest": 1.0, "omega_0": omega_0_lr_factor, "mask": mask_lr_factor}
    special = dict(_special(model))
    groups: dict[str, list[nn.Parameter]] = {name: [] for name in factors}
    for parameter in filter(lambda p: p.requires_grad, model.parameters()):
        groups[special.get(parameter, "rest")].append(parameter)
    return [
        {
            "params": parameters,
            "lr": lr * factors[name],
            "weight_decay": weight_decay if name == "rest" else 0.0,
            "name": name,
        }
        for name, parameters in groups.items()
        if parameters
    ]


def _special(model: nn.Module) -> Iterator[tuple[nn.Parameter, str]]:
    """Parameters that their layers name a group for, pruned and parametrized ones too."""
    for module in model.modules():
        for name, group in getattr(module, "learning_rate_groups", {}).items():
            own = [module._parameters.get(name), module._parameters.get(f"{name}_orig")]
            if name in getattr(module, "parametrizations", {}):
                own += module.parametrizations[name].parameters()
            yield from ((parameter, group) for parameter in own if parameter is not None)
