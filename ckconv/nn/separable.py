"""A convolution in two parts: over positions, channel by channel, then over channels."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor, nn

from ckconv.config import ConvConfig, KernelConfig, MaskConfig
from ckconv.errors import check_count
from ckconv.nn.conv import FlexConv

if TYPE_CHECKING:
    from jaxtyping import Float, Inexact

_POINTWISE = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}


class SepFlexConv(FlexConv):
    """A depthwise FlexConv, then a 1x1 convolution.

    "Modelling Long Range Dependencies in N-D", Knigge et al., ICLR 2023. One kernel per input
    channel instead of one per pair, so that its generator has in_channels outputs. Arguments are
    as for `FlexConv`; the mask's mean is fixed if nothing else is said.
    """

    is_depthwise: ClassVar[bool] = True

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        dim: int = 2,
        kernel: KernelConfig | None = None,
        conv: ConvConfig | None = None,
        mask: MaskConfig | None = None,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        **others: object,
    ) -> None:
        check_count("out_channels", out_channels)
        mask = mask or MaskConfig(type="fixed_gaussian")
        factory = {"device": device, "dtype": dtype}
        super().__init__(in_channels, in_channels, dim, kernel, conv, mask, **factory, **others)
        self.out_channels = out_channels
        self.channel_mixer = _POINTWISE[dim](in_channels, out_channels, 1, **factory)
        nn.init.kaiming_normal_(self.channel_mixer.weight)
        nn.init.zeros_(self.channel_mixer.bias)

    def forward(
        self, x: Inexact[Tensor, "*batch_channels_size"]
    ) -> Inexact[Tensor, "*batch_out_size"]:
        """(B, in_channels, *size) -> (B, out_channels, *out), or without B."""
        y = super().forward(x)
        if y.is_complex():  # an ordinary convolution takes no more than one part at a time
            imag = self.channel_mixer(y.imag) - self.channel_mixer(torch.zeros_like(y.imag))
            return torch.complex(self.channel_mixer(y.real), imag)
        return self.channel_mixer(y)

    def last_step(self, x: Float[Tensor, "B channels L"]) -> Float[Tensor, "B out 1"]:
        """The last step alone of what `forward` gives in 1-D: (B, C, L) -> (B, O, 1)."""
        return self(x)[..., -1:]
