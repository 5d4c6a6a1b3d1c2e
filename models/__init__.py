"""The networks by their names, and the function that makes the one a configuration asks for."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from torch import nn

from ckconv.config import NetConfig
from ckconv.errors import UsageError, pick
from ckconv.models import FlexNet, FlexTCN, set_resolution
from models.cifar_resnet import DEPTHS, CIFARResNet
from models.original_resnet import LAYOUTS, original_resnet

if TYPE_CHECKING:
    from cfg.schema import Config

__all__ = [
    "ALIASES",
    "NETWORKS",
    "CIFARResNet",
    "FlexNet",
    "FlexTCN",
    "NetConfig",
    "build_model",
    "original_resnet",
    "set_resolution",
]


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
    return pick("net.type", ALIASES.get(cfg.net.type, cfg.net.type), NETWORKS)(cfg, task)


def _flexnet(cfg: Config, task: _Task) -> FlexNet:
    parts = cfg.net, cfg.kernel, cfg.conv, cfg.mask
    return FlexNet(task.in_channels, task.out_channels, task.dim, *parts, per_step=task.per_step)


def _flextcn(cfg: Config, task: _Task) -> FlexTCN:
    if task.dim != 1:
        raise UsageError("net.type=FlexTCN: it reads sequences; use net.type=FlexNet on images")
    parts = cfg.net, cfg.kernel, cfg.conv, cfg.mask
    return FlexTCN(task.in_channels, task.out_channels, *parts, per_step=task.per_step)


def _resnet(
    make: Callable[[int, int, int], nn.Module], depth: int, cfg: Config, task: _Task
) -> nn.Module:
    if task.dim != 2:
        raise UsageError(
            f"net.type={cfg.net.type}: it reads images; use net.type=FlexNet on sequences"
        )
    return make(task.in_channels, task.out_channels, depth)


NETWORKS: dict[str, Callable[[Config, _Task], nn.Module]] = {  # by their names in `net.type`
    "FlexNet": _flexnet,
    "FlexTCN": _flextcn,
    **{f"CIFARResNet{d}": functools.partial(_resnet, CIFARResNet, d) for d in DEPTHS},
    **{f"OriginalResnet{d}": functools.partial(_resnet, original_resnet, d) for d in LAYOUTS},
}
ALIASES = {"ResNet": "FlexNet", "TCN": "FlexTCN"}  # names that published commands use
