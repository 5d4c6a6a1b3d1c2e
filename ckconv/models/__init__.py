"""FlexNet and FlexTCN."""

from ckconv.models.blocks import set_resolution
from ckconv.models.flexnet import FlexNet
from ckconv.models.flextcn import FlexTCN
from ckconv.models.timed import Timed

__all__ = ["FlexNet", "FlexTCN", "Timed", "set_resolution"]
