"""Layers: CKConv, FlexConv, the Gaussian mask, N-Jet, the kernel generators."""

from ckconv.nn import ck
from ckconv.nn.conv import CKConv, FlexConv
from ckconv.nn.mask import GaussianMask
from ckconv.nn.njet import NJet
from ckconv.nn.rates import set_length
from ckconv.nn.together import keep_kernels, kept_kernels, recorded_kernels, sample_together

__all__ = [
    "CKConv",
    "FlexConv",
    "GaussianMask",
    "NJet",
    "ck",
    "keep_kernels",
    "kept_kernels",
    "recorded_kernels",
    "sample_together",
    "set_length",
]
