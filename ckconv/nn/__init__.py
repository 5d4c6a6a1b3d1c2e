"""Layers: CKConv, FlexConv, their masks, N-Jet, the kernel generators."""

from ckconv.nn import ck
from ckconv.nn.conv import CKConv, FlexConv
from ckconv.nn.irregular import conv_at_times
from ckconv.nn.mask import MASKS, ExponentialMask, FixedGaussianMask, GaussianMask, Mask
from ckconv.nn.nd import (
    CKConv1d,
    CKConv2d,
    CKConv3d,
    FlexConv1d,
    FlexConv2d,
    FlexConv3d,
    SepFlexConv1d,
    SepFlexConv2d,
    SepFlexConv3d,
)
from ckconv.nn.njet import NJet
from ckconv.nn.rates import set_length
from ckconv.nn.separable import SepFlexConv
from ckconv.nn.together import keep_kernels, kept_kernels, recorded_kernels, sample_together

__all__ = [
    "MASKS",
    "CKConv",
    "CKConv1d",
    "CKConv2d",
    "CKConv3d",
    "ExponentialMask",
    "FixedGaussianMask",
    "FlexConv",
    "FlexConv1d",
    "FlexConv2d",
    "FlexConv3d",
    "GaussianMask",
    "Mask",
    "NJet",
    "SepFlexConv",
    "SepFlexConv1d",
    "SepFlexConv2d",
    "SepFlexConv3d",
    "ck",
    "conv_at_times",
    "keep_kernels",
    "kept_kernels",
    "recorded_kernels",
    "sample_together",
    "set_length",
]
