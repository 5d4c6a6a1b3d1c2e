"""FlexTCN: a temporal convolutional network of FlexConvs, for sequences."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn

from ckconv.config import ConvConfig, KernelConfig, MaskConfig, NetConfig, block_widths
from ckconv.errors import check_count
from ckconv.models.blocks import (
    ResidualBlock,
    conv_factory,
    run_blocks,
    sample_kernels,
    set_resolution,
)
from ckconv.models.dropout import Dropout
from ckconv.models.flexnet import readout
from ckconv.models.padding import own_steps

if TYPE_CHECKING:
    from jaxtyping import Float, Int


class FlexTCN(nn.Module):
    """Residual TCN blocks of two causal convolutions, and a linear map on the last step.

    FlexConv paper, section 5.1; with `conv.type=CKConv` the CKCNN of the CKConv paper.
    (B, in_channels, L) -> (B, out_channels), or (B, out_channels, L) with `per_step`.

    Args: as for `FlexNet`, in one dimension.

    Raises:
        UsageError: for a network that cannot be built.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        net: NetConfig | None = None,
        kernel: KernelConfig | None = None,
        conv: ConvConfig | None = None,
        mask: MaskConfig | None = None,
        per_step: bool = False,
    ) -> None:
        super().__init__()
        net = net or NetConfig(type="FlexTCN")
        NetConfig.check(net)
        check_count("out_channels", out_channels)
        widths = block_widths(net)
        make_conv = conv_factory(1, kernel, conv, mask, depth=2 * len(widths))
        self.dropout_in = Dropout(net.dropout_in)
        self.blocks = nn.Sequential(
            *(
                ResidualBlock(a, b, 1, make_conv, net, tcn=True)
                for a, b in zip([in_channels, *widths[:-1]], widths)
            )
        )
        self.head = nn.Linear(widths[-1], out_channels)
        nn.init.normal_(self.head.weight, std=0.01)
        nn.init.zeros_(self.head.bias)
        self.per_step = per_step

    def forward(
        self,
        x: Float[Tensor, " B channels L"],
        lengths: Int[Tensor, " B"] | None = None,
        times: Float[Tensor, "B L"] | None = None,
    ) -> Float[Tensor, "B out *steps"]:
        """x (B, in_channels, L); `lengths` and `times` as for `FlexNet`."""
        own = own_steps(x, lengths)
        sample_kernels(self, x, times)
        h = run_blocks(self.blocks, self.dropout_in(x), not self.per_step, own, times)
        return readout(h, self.head, self.per_step, own)

    def set_resolution(self, ratio: float | tuple[float, ...]) -> None:
        """Deploy the trained network at `ratio` = new / present sampling rate of its input."""
        set_resolution(self, ratio)
