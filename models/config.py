"""Settings of a network, as a plain dataclass: the flags `net.*`."""

from __future__ import annotations

from dataclasses import dataclass, field

from ckconv.errors import UsageError, check_choice

ALIASES = {"ResNet": "FlexNet", "TCN": "FlexTCN"}  # names that published commands use
CIFAR_RESNETS = tuple(f"CIFARResNet{depth}" for depth in (20, 32, 44, 56, 110, 1202))
ORIGINAL_RESNETS = tuple(f"OriginalResnet{depth}" for depth in (10, 18, 34, 50, 101, 152))
NET_TYPES = ("FlexNet", "FlexTCN", *CIFAR_RESNETS, *ORIGINAL_RESNETS)


@dataclass
class NetConfig:
    """A network of residual blocks."""

    type: str = "FlexNet"  # FlexNet (ResNet), FlexTCN (TCN), CIFARResNet*, OriginalResnet*
    no_hidden: int = 16  # width
    no_blocks: int = 2  # residual blocks of two convolutions each
    block_width_factors: list[float] = field(default_factory=lambda: [0.0])
    dropout: float = 0.0  # after the first nonlinearity of a block (FlexTCN: after both)
    dropout_in: float = 0.0  # on the network's input
    norm: str = "BatchNorm"  # BatchNorm, LayerNorm
    nonlinearity: str = "ReLU"  # ReLU, LeakyReLU


def net_type(cfg: NetConfig) -> str:
    """The network's own name, also where a published command uses another."""
    return ALIASES.get(cfg.type, cfg.type)


def validate_net(cfg: NetConfig) -> None:
    """Raise `UsageError` for a network that cannot be built."""
    check_choice("net.type", net_type(cfg), NET_TYPES)
    check_choice("net.norm", cfg.norm, ("BatchNorm", "LayerNorm"))
    check_choice("net.nonlinearity", cfg.nonlinearity, ("ReLU", "LeakyReLU"))
    for flag in ("no_hidden", "no_blocks"):
        if getattr(cfg, flag) < 1:
            raise UsageError(f"net.{flag}={getattr(cfg, flag)}: give a number of at least 1")
    for flag in ("dropout", "dropout_in"):
        if not 0 <= getattr(cfg, flag) < 1:
            raise UsageError(f"net.{flag}={getattr(cfg, flag)}: give a number from 0 to below 1")
    block_widths(cfg)


def block_widths(cfg: NetConfig) -> list[int]:
    """The number of channels of each residual block, from `net.block_width_factors`.

    The factors come in pairs (factor, number of blocks): `[1.0, 2, 1.5, 3, 2.0, 2]` describes
    seven blocks. `[0.0]` gives every block the width `net.no_hidden`. Raises `UsageError` where
    the pairs do not add up to `net.no_blocks`.
    """
    factors = list(cfg.block_width_factors)
    if factors in ([], [0.0]):
        return [cfg.no_hidden] * cfg.no_blocks
    if len(factors) % 2:
        raise UsageError(
            f"net.block_width_factors={factors}: give pairs (factor, number of blocks), or [0.0]"
        )
    widths = []
    for factor, count in zip(factors[::2], factors[1::2]):
        if count != int(count) or count < 1 or factor <= 0:
            raise UsageError(
                f"net.block_width_factors={factors}: ({factor}, {count}) is no pair of a positive "
                "factor and a whole number of blocks"
            )
        widths += [int(cfg.no_hidden * factor)] * int(count)
    if len(widths) != cfg.no_blocks:
        raise UsageError(
            f"net.block_width_factors={factors}: describes {len(widths)} blocks, but "
            f"net.no_blocks={cfg.no_blocks}; make them equal"
        )
    return widths
