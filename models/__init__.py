"""The networks, and the function that makes the one a configuration asks for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from torch import nn

from ckconv.config import (
    NetConfig,
    net_type,
    validate_conv,
    validate_kernel,
    validate_mask,
    validate_net,
)
from ckconv.errors import UsageError
from ckconv.models.blocks import set_resolution
from ckconv.models.flexnet import FlexNet
from ckconv.models.flextcn import FlexTCN
from models.cifar_resnet import CIFARResNet
from models.original_resnet import original_resnet

if TYPE_CHECKING:
    from cfg.schema import Config

__all__ = [
    "CIFARResNet",
    "FlexNet",
    "FlexTCN",
    "NetConfig",
    "build_model",
    "original_resnet",
    "set_resolution",
]

RESNETS = {"CIFARResNet": CIFARResNet, "OriginalResnet": original_resnet}


class _Task(Protocol):
    """What a network needs to know of a task."""

    in_channels: int
    out_channels: int
    per_step: bool

    @property
    def dim(self) -> int: ...


def build_model(cfg: Config, task: _Task) -> nn.Module:
    """Make the network that `cfg` asks for, of the size that `task` needs.

    Reads `cfg.net`, `cfg.kernel`, `cfg.conv` and `cfg.mask`. Raises `UsageError`, naming the
    flag, for a network that cannot be built.
    """
    validate_net(cfg.net)
    validate_kernel(cfg.kernel)
    validate_conv(cfg.conv)
    validate_mask(cfg.mask)
    name = net_type(cfg.net)
    parts = {"net": cfg.net, "kernel": cfg.kernel, "conv": cfg.conv, "mask": cfg.mask}
    if name == "FlexNet":
        return FlexNet(
            task.in_channels, task.out_channels, task.dim, per_step=task.per_step, **parts
        )
    if name == "FlexTCN":
        if task.dim != 1:
            raise UsageError("net.type=FlexTCN: it reads sequences; use net.type=FlexNet on images")
        return FlexTCN(task.in_channels, task.out_channels, per_step=task.per_step, **parts)
    if task.dim != 2:
        raise UsageError(f"net.type={name}: it reads images; use net.type=FlexNet on sequences")
    family = name.rstrip("0123456789")
    depth = int(name.removeprefix(family))
    return RESNETS[family](task.in_channels, task.out_channels, depth)
