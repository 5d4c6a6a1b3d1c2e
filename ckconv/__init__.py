"""Continuous-kernel convolutions: FlexConv and CKConv (ICLR 2022)."""

from __future__ import annotations

import importlib
from types import ModuleType

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


def __getattr__(name: str) -> ModuleType:
    """Import `ckconv.antialiasing` when it is first named, so that it also runs with `-m`."""
    if name == "antialiasing":
        return importlib.import_module("ckconv.antialiasing")
    raise AttributeError(f"module 'ckconv' has no attribute '{name}'")
