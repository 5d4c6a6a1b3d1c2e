"""FlexNet: a residual network of FlexConvs, for sequences, images and volumes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn

from ckconv.config import ConvConfig, KernelConfig, MaskConfig, NetConfig, block_widths
from ckconv.models.blocks import (
    ResidualBlock,
    conv_factory,
    make_nonlinearity,
    make_norm,
    run_blocks,
    sample_kernels,
    set_resolution,
)

if TYPE_CHECKING:
    from jaxtyping import Float


class FlexNet(nn.Module):
    """A stem convolution, residual blocks of two convolutions, and a linear map.

    FlexConv paper, appendix D. (B, in_channels, H, W), or of volumes (B, in_channels, D, H, W) ->
    (B, out_channels) by global average pooling, or (B, in_channels, L) -> (B, out_channels) from
    the last time step; with `per_step` (B, in_channels, L) -> (B, out_channels, L).

    Args:
        in_channels: channels of the input.
        out_channels: numbers that the network gives per input: classes, or 1 for a regression.
        dim: 1 for sequences, 2 for images, 3 for volumes and videos.
        net: width, blocks and their width factors, norm, nonlinearity, dropout.
        kernel, conv, mask: the convolutions; `conv.type` is FlexConv, SepFlexConv, CKConv, Conv or
            SRF.
        per_step: an output for every time step.

    Raises:
        UsageError: for a network that cannot be built.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        dim: int,
        net: NetConfig | None = None,
        kernel: KernelConfig | None = None,
        conv: ConvConfig | None = None,
        mask: MaskConfig | None = None,
        per_step: bool = False,
    ) -> None:
        super().__init__()
        net = net or NetConfig()
        NetConfig.check(net)
        make_conv = conv_factory(dim, kernel, conv, mask)
        widths = block_widths(net)
        self.dropout_in = nn.Dropout(net.dropout_in)
        self.stem = make_conv(in_channels, net.no_hidden)
        self.stem_norm = make_norm(net.norm, net.no_hidden, dim)
        self.nonlinearity = make_nonlinearity(net.nonlinearity)
        self.blocks = nn.Sequential(
            *(
                ResidualBlock(a, b, dim, make_conv, net)
                for a, b in zip([net.no_hidden, *widths[:-1]], widths)
            )
        )
        self.head = nn.Linear(widths[-1], out_channels)
        nn.init.kaiming_normal_(self.head.weight)
        nn.init.zeros_(self.head.bias)
        self.per_step = per_step

    def forward(self, x: Float[Tensor, "B channels *size"]) -> Float[Tensor, "B out *steps"]:
        sample_kernels(self, x)
        h = self.nonlinearity(self.stem_norm(self.stem(self.dropout_in(x))))  # (B, C, *size)
        h = run_blocks(self.blocks, h, only_last_step=h.ndim == 3 and not self.per_step)
        return readout(h, self.head, self.per_step)

    def set_resolution(self, ratio: float | tuple[float, ...]) -> None:
        """Deploy the trained network at `ratio` = new / present resolution of its input."""
        set_resolution(self, ratio)


def readout(h: Tensor, head: nn.Linear, per_step: bool) -> Tensor:
    """Features (B, C, *size) -> (B, out), or (B, out, L) with `per_step`."""
    if per_step:
        return head(h.transpose(1, 2)).transpose(1, 2)  # (B, out, L)
    pooled = h[..., -1] if h.ndim == 3 else h.mean(dim=tuple(range(2, h.ndim)))  # (B, C)
    return head(pooled)
