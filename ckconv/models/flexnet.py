"""FlexNet: a residual network of FlexConvs, for sequences, images and volumes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn

from ckconv.config import ConvConfig, KernelConfig, MaskConfig, NetConfig, block_widths
from ckconv.errors import check_count
from ckconv.models.blocks import (
    ResidualBlock,
    conv_factory,
    convolved,
    make_nonlinearity,
    make_norm,
    run_blocks,
    sample_kernels,
    set_resolution,
)
from ckconv.models.dropout import Dropout
from ckconv.models.padding import last_own_step, normalize, own_steps, without_padding

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int


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
        check_count("out_channels", out_channels)
        widths = block_widths(net)
        make_conv = conv_factory(dim, kernel, conv, mask, depth=1 + 2 * len(widths))
        self.dropout_in = Dropout(net.dropout_in)
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

    def forward(
        self,
        x: Float[Tensor, "B channels *size"],
        lengths: Int[Tensor, " B"] | None = None,
        times: Float[Tensor, "B L"] | None = None,
    ) -> Float[Tensor, "B out *steps"]:
        """x (B, in_channels, *size); of padded sequences `lengths` (B,) are those without it.

        A sequence then gives what it would give alone: its last own step is read, and padding
        counts in no layer. `times` (B, L), increasing, are those of a sequence's samples, see
        `conv_at_times`. Raises `ValueError` for lengths that do not fit.
        """
        own = own_steps(x, lengths)
        sample_kernels(self, x, times)
        h = convolved(self.stem, without_padding(self.dropout_in(x), own), times)
        h = self.nonlinearity(normalize(self.stem_norm, h, own))  # (B, C, *size)
        h = run_blocks(self.blocks, h, h.ndim == 3 and not self.per_step, own, times)
        return readout(h, self.head, self.per_step, own)

    def set_resolution(self, ratio: float | tuple[float, ...]) -> None:
        """Deploy the trained network at `ratio` = new / present resolution of its input."""
        set_resolution(self, ratio)


def readout(
    h: Float[Tensor, "B width *size"],
    head: nn.Linear,
    per_step: bool,
    own: Bool[Tensor, "B 1 L"] | None = None,
) -> Float[Tensor, "B out *steps"]:
    """Features (B, C, *size) -> (B, out), or (B, out, L) with `per_step`.

    `own` (B, 1, L) says which steps are not padding.
    """
    if per_step:
        return head(h.transpose(1, 2)).transpose(1, 2)  # (B, out, L)
    sequence = h.ndim == 3
    pooled = last_own_step(h, own) if sequence else h.mean(dim=tuple(range(2, h.ndim)))  # (B, C)
    return head(pooled)
