"""The networks by their names, and the function that makes the one a configuration asks for."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from torch import nn

from ckconv import by_path
from ckconv.config import NetConfig
from ckconv.errors import UsageError, pick
from ckconv.models import FlexNet, FlexTCN, set_resolution
from ckconv.models.build import ALIASES, NAMES, Parts, build
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
    timed: bool
    padded: bool

    @property
    def dim(self) -> int: ...


def build_model(cfg: Config, task: _Task) -> nn.Module:
    """Make the network that `cfg` asks for, of the size that `task` needs.

    Reads `cfg.net`, `cfg.kernel`, `cfg.conv` and `cfg.mask`. Raises `UsageError`, naming the
    flag, for a network that cannot be built.
    """
    name = ALIASES.get(cfg.net.type, cfg.net.type)
    make = _continuous if by_path.is_path(name) else pick("net.type", name, NETWORKS)
    return make(cfg, task)


def _continuous(cfg: Config, task: _Task) -> nn.Module:
    parts = Parts(cfg.net, cfg.kernel, cfg.conv, cfg.mask)
    shape = task.in_channels, task.out_channels, task.dim
    network = build(*shape, parts, per_step=task.per_step, timed=task.timed)
    inner = network.network if task.timed else network
    if task.padded and "lengths" not in inspect.signature(inner.forward).parameters:
        raise UsageError(
            f"net.type={cfg.net.type}: its forward(x) takes no lengths; the sequences are of "
            "unequal length, which forward(x, lengths=None) has to heed"
        )
    return network


def _resnet(
    make: Callable[[int, int, int], nn.Module], depth: int, cfg: Config, task: _Task
) -> nn.Module:
    if task.dim != 2:
        raise UsageError(
            f"net.type={cfg.net.type}: it reads images; use net.type=FlexNet on sequences"
        )
    return make(task.in_channels, task.out_channels, depth)


NETWORKS: dict[str, Callable[[Config, _Task], nn.Module]] = {  # by their names in `net.type`
    **dict.fromkeys(NAMES, _continuous),
    **{f"CIFARResNet{d}": functools.partial(_resnet, CIFARResNet, d) for d in DEPTHS},
    **{f"OriginalResnet{d}": functools.partial(_resnet, original_resnet, d) for d in LAYOUTS},
}
