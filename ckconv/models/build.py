"""FlexNet, FlexTCN, or a network of one's own, by its name."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import nn

from ckconv import by_path
from ckconv.config import ConvConfig, KernelConfig, MaskConfig, NetConfig
from ckconv.errors import UsageError, check_choice
from ckconv.models.flexnet import FlexNet
from ckconv.models.flextcn import FlexTCN
from ckconv.models.timed import Timed

NAMES = ("FlexNet", "FlexTCN")
ALIASES = {"ResNet": "FlexNet", "TCN": "FlexTCN"}  # names that published commands use


@dataclass
class Parts:
    """The settings of a network and of its convolutions."""

    net: NetConfig = field(default_factory=NetConfig)
    kernel: KernelConfig = field(default_factory=KernelConfig)
    conv: ConvConfig = field(default_factory=ConvConfig)
    mask: MaskConfig = field(default_factory=MaskConfig)


def build(
    in_channels: int,
    out_channels: int,
    dim: int,
    parts: Parts,
    per_step: bool = False,
    timed: bool = False,
) -> nn.Module:
    """The network that `parts.net.type` names, for inputs of `dim` axes.

    FlexNet (also ResNet), FlexTCN (also TCN), or a class by its path, `package.module:Name`, which
    is called as FlexNet is: `Name(in_channels, out_channels, dim, net, kernel, conv, mask,
    per_step=...)`. With `timed` the last of `in_channels` holds the times of the samples. Raises
    `UsageError`, naming the flag, for a network that cannot be built.
    """
    name = ALIASES.get(parts.net.type, parts.net.type)
    channels = in_channels - timed
    settings = parts.net, parts.kernel, parts.conv, parts.mask
    if by_path.is_path(name):
        make = by_path.find("net.type", name)
        network = make(channels, out_channels, dim, *settings, per_step=per_step)
        if not isinstance(network, nn.Module):
            raise UsageError(f"net.type={name}: makes a {type(network).__name__}, no nn.Module")
    else:
        check_choice("net.type", name, NAMES)
        if name == "FlexNet":
            network = FlexNet(channels, out_channels, dim, *settings, per_step=per_step)
        elif dim == 1:
            network = FlexTCN(channels, out_channels, *settings, per_step=per_step)
        else:
            raise UsageError(f"net.type={name}: it reads sequences; use net.type=FlexNet on images")
    return Timed(network) if timed else network
