"""Layers: CKConv, FlexConv, the Gaussian mask, the kernel generators."""

from ckconv.nn import ck
from ckconv.nn.conv import CKConv, FlexConv
from ckconv.nn.mask import GaussianMask

__all__ = ["CKConv", "FlexConv", "GaussianMask", "ck"]
