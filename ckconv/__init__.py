"""Continuous-kernel convolutions: FlexConv and CKConv (ICLR 2022)."""

from __future__ import annotations

from ckconv import antialiasing, errors, models, penalties, published
from ckconv import nn as nn
from ckconv.config import ConvConfig, KernelConfig, MaskConfig, NetConfig, RegularizeConfig
from ckconv.convert import convert
from ckconv.errors import UsageError
from ckconv.freeze import freeze
from ckconv.nn import (
    CKConv,
    CKConv1d,
    CKConv2d,
    CKConv3d,
    FlexConv,
    FlexConv1d,
    FlexConv2d,
    FlexConv3d,
    SepFlexConv,
    SepFlexConv1d,
    SepFlexConv2d,
    SepFlexConv3d,
)
from ckconv.optimization import parameter_groups
from ckconv.trained import Trained, load, save

__version__ = "1.0.0"

# `ckconv.nn` is handed out too, but not by `from ckconv import *`, which would take the name `nn`
# from `torch.nn`.

__all__ = [
    "CKConv",
    "CKConv1d",
    "CKConv2d",
    "CKConv3d",
    "ConvConfig",
    "FlexConv",
    "FlexConv1d",
    "FlexConv2d",
    "FlexConv3d",
    "KernelConfig",
    "MaskConfig",
    "NetConfig",
    "RegularizeConfig",
    "SepFlexConv",
    "SepFlexConv1d",
    "SepFlexConv2d",
    "SepFlexConv3d",
    "Trained",
    "UsageError",
    "__version__",
    "antialiasing",
    "convert",
    "errors",
    "freeze",
    "load",
    "models",
    "parameter_groups",
    "penalties",
    "published",
    "save",
]
