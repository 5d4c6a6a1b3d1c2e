"""FlexNet and FlexTCN."""

from ckconv.models.blocks import set_resolution
from ckconv.models.flexnet import FlexNet
from ckconv.models.flextcn import FlexTCN

__all__ = ["FlexNet", "FlexTCN", "set_resolution"]
