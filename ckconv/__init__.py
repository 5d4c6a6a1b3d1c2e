"""Continuous-kernel convolutions: FlexConv and CKConv (ICLR 2022)."""

from ckconv import published
from ckconv.config import ConvConfig, KernelConfig, MaskConfig, RegularizeConfig
from ckconv.errors import UsageError

__all__ = [
    "ConvConfig",
    "KernelConfig",
    "MaskConfig",
    "RegularizeConfig",
    "UsageError",
    "published",
]
