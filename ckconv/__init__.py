"""Continuous-kernel convolutions: FlexConv and CKConv (ICLR 2022)."""

from __future__ import annotations

from ckconv import antialiasing, published
from ckconv.config import ConvConfig, KernelConfig, MaskConfig, NetConfig, RegularizeConfig
from ckconv.errors import UsageError

__all__ = [
    "ConvConfig",
    "KernelConfig",
    "MaskConfig",
    "NetConfig",
    "RegularizeConfig",
    "UsageError",
    "antialiasing",
    "published",
]
