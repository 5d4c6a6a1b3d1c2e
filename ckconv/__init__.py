"""Continuous-kernel convolutions: FlexConv and CKConv (ICLR 2022)."""

from __future__ import annotations

from ckconv import antialiasing, errors, models, nn, penalties, published
from ckconv.config import ConvConfig, KernelConfig, MaskConfig, NetConfig, RegularizeConfig
from ckconv.errors import UsageError

__version__ = "1.0.0"

__all__ = [
    "ConvConfig",
    "KernelConfig",
    "MaskConfig",
    "NetConfig",
    "RegularizeConfig",
    "UsageError",
    "__version__",
    "antialiasing",
    "errors",
    "models",
    "nn",
    "penalties",
    "published",
]
