"""The residual networks for small images of He et al., 2016, section 4.2: a baseline."""

from __future__ import annotations

import torch.nn.functional as nnf
from torch import Tensor, nn

from ckconv.errors import UsageError, check_count

DEPTHS = (20, 32, 44, 56, 110, 1202)  # of the paper
WIDTHS = (16, 32, 64)  # channels of the three stages; each halves the resolution of the one before
LAYERS_BESIDE_BLOCKS = 2  # the stem and the linear map


class PlainBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut without parameters ("option A").

    (B, in_channels, H, W) -> (B, out_channels, H / stride, W / stride). Where the shape changes,
    the shortcut takes every second pixel and pads the missing channels with zeros.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(out_channels)
        self.stride = stride
        self.added = out_channels - in_channels

    def forward(self, x: Tensor) -> Tensor:
        h = nnf.relu(self.norm1(self.conv1(x)))  # (B, out, H / stride, W / stride)
        h = self.norm2(self.conv2(h))
        before = self.added // 2
        shortcut = x[:, :, :: self.stride, :: self.stride]
        shortcut = nnf.pad(shortcut, (0, 0, 0, 0, before, self.added - before))
        return nnf.relu(h + shortcut)


class CIFARResNet(nn.Module):
    """A residual network of `depth` layers: (B, in_channels, H, W) -> (B, out_channels).

    Three stages of (depth - 2) / 6 blocks with 16, 32 and 64 channels, global average pooling, a
    linear map.

    Raises:
        UsageError: for a depth that is not 6 n + 2.
    """

    def __init__(self, in_channels: int, out_channels: int, depth: int) -> None:
        super().__init__()
        check_count("in_channels", in_channels)
        check_count("out_channels", out_channels)
        blocks, rest = divmod(depth - LAYERS_BESIDE_BLOCKS, 6)
        if rest or blocks < 1:
            raise UsageError(f"net.type=CIFARResNet{depth}: the depth must be 6 n + 2, as 20 or 44")
        self.stem = nn.Conv2d(in_channels, WIDTHS[0], 3, padding=1, bias=False)
        self.stem_norm = nn.BatchNorm2d(WIDTHS[0])
        stages, channels = [], WIDTHS[0]
        for stage, width in enumerate(WIDTHS):
            for block in range(blocks):
                stride = 2 if stage and not block else 1
                stages.append(PlainBlock(channels, width, stride))
                channels = width
        self.blocks = nn.Sequential(*stages)
        self.head = nn.Linear(channels, out_channels)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(module.weight)

    def forward(self, x: Tensor) -> Tensor:
        h = nnf.relu(self.stem_norm(self.stem(x)))  # (B, 16, H, W)
        h = self.blocks(h)  # (B, 64, H / 4, W / 4)
        return self.head(h.mean(dim=(2, 3)))
