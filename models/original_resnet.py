"""torchvision's residual networks for large images (He et al., 2016, table 1): a baseline."""

from __future__ import annotations

from torch import nn

from ckconv.errors import UsageError, check_count

LAYOUTS = {
    10: ("BasicBlock", (1, 1, 1, 1)),
    18: ("BasicBlock", (2, 2, 2, 2)),
    34: ("BasicBlock", (3, 4, 6, 3)),
    50: ("Bottleneck", (3, 4, 6, 3)),
    101: ("Bottleneck", (3, 4, 23, 3)),
    152: ("Bottleneck", (3, 8, 36, 3)),
}


def original_resnet(in_channels: int, out_channels: int, depth: int) -> nn.Module:
    """torchvision's ResNet of `depth` layers: (B, in_channels, H, W) -> (B, out_channels).

    Untrained. The stem is the original one, of 7x7 and stride 2, for any number of channels.

    Raises:
        UsageError: for a depth that there is none of.
    """
    from torchvision.models import resnet

    check_count("in_channels", in_channels)
    check_count("out_channels", out_channels)
    if depth not in LAYOUTS:
        known = ", ".join(f"OriginalResnet{d}" for d in LAYOUTS)
        raise UsageError(f"net.type=OriginalResnet{depth}: unknown; choose one of {known}")
    block, layers = LAYOUTS[depth]
    model = resnet.ResNet(getattr(resnet, block), list(layers), num_classes=out_channels)
    if in_channels != model.conv1.in_channels:
        model.conv1 = nn.Conv2d(in_channels, 64, 7, stride=2, padding=3, bias=False)
        nn.init.kaiming_normal_(model.conv1.weight, mode="fan_out", nonlinearity="relu")
    return model
