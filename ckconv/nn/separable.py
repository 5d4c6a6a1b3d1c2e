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


class _Mixer:
    """A 1x1 convolution whose input may still be without its bias."""

    def forward(self, x: Tensor, own: Tensor | None = None) -> Tensor:
        """x (B, C, *size), or without B, to which `own` (C,) is to be added -> (B, O, *size)."""
        bias = self.bias
        if own is not None:  # W (x + own) + b is W x + (W own + b): no pass over x
            bias = torch.addmv(bias, self.weight.flatten(1), own)
        if not _is_plain(x, self.weight):
            return self._conv_forward(x, self.weight, bias)
        rows = x if x.ndim == self.weight.ndim else x[None]
        matrices = self.weight.flatten(1).expand(rows.shape[0], -1, -1)
        y = torch.baddbmm(bias[:, None], matrices, rows.flatten(2))  # (B, O, positions)
        y = y.unflatten(2, rows.shape[2:])
        return y if rows is x else y[0]


def _is_plain(x: Tensor, weight: Tensor) -> bool:
    """Whether a product of matrices is the fastest: on a CPU, of lines that lie in one piece.

    A convolution there copies them into an order of its own, forward and backward.
    """
    if torch.compiler.is_compiling() or x.device.type != "cpu":
        return False
    return x.dtype == weight.dtype in (torch.float32, torch.float64) and x.stride(-1) == 1


class _Mixer1d(_Mixer, nn.Conv1d): ...


class _Mixer2d(_Mixer, nn.Conv2d): ...


class _Mixer3d(_Mixer, nn.Conv3d): ...


_MIXERS = {1: _Mixer1d, 2: _Mixer2d, 3: _Mixer3d}


class SepFlexConv(FlexConv):
    """A depthwise FlexConv, then a 1x1 convolution.

    "Modelling Long Range Dependencies in N-D", Knigge et al., ICLR 2023. One kernel per input
    channel instead of one per pair, so that its generator has in_channels outputs. Arguments are
    as for `FlexConv`, but for groups, of which each channel is one; the mask's mean is fixed if
    nothing else is said. Inputs have the parameters' dtype, as those of an `nn.Conv2d`.
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
        mask = MaskConfig(type="fixed_gaussian") if mask is None else mask
        factory = {"device": device, "dtype": dtype}
        super().__init__(in_channels, in_channels, dim, kernel, conv, mask, **factory, **others)
        self.out_channels = out_channels
        self.channel_mixer = _MIXERS[dim](in_channels, out_channels, 1, **factory)
        nn.init.kaiming_normal_(self.channel_mixer.weight)
        nn.init.zeros_(self.channel_mixer.bias)

    def forward(
        self, x: Inexact[Tensor, "*batch_channels_size"]
    ) -> Inexact[Tensor, "*batch_out_size"]:
        """(B, in_channels, *size) -> (B, out_channels, *out), or without B."""
        y = self._convolved(x, None)
        if y.is_complex():  # an ordinary convolution takes no more than one part at a time
            imag = self.channel_mixer(y.imag) - self.channel_mixer(torch.zeros_like(y.imag))
            return torch.complex(self.channel_mixer(y.real, self.bias), imag)
        return self.channel_mixer(y, self.bias)

    def last_step(self, x: Float[Tensor, "B channels L"]) -> Float[Tensor, "B out 1"]:
        """The last step alone of what `forward` gives in 1-D: (B, C, L) -> (B, O, 1)."""
        return self(x)[..., -1:]
