"""The layers with the arguments of `torch.nn.Conv1d`, `Conv2d` and `Conv3d`, in their order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch

from ckconv.config import ConvConfig, KernelConfig, MaskConfig
from ckconv.errors import UsageError
from ckconv.nn.calls import check_axes, check_nd_call
from ckconv.nn.ck import Generator
from ckconv.nn.conv import CKConv, FlexConv
from ckconv.nn.mask import Mask
from ckconv.nn.separable import SepFlexConv

PerAxis = int | Sequence[int]


class _LikeConv:
    """What turns `nn.Conv2d`'s arguments into the settings of a layer of `dimensions` axes.

    Args:
        in_channels, out_channels: channels of the input and the output.
        kernel_size: the horizon, which the learned kernel is never larger than: an odd number of
            samples, or one per axis; `same`, as large as the first input; `full`, larger than any
            two of its samples are apart.
        stride, padding, dilation, groups, bias, padding_mode: as for `nn.Conv2d`, one number or
            word for all axes or one for each, but padding is `same` if it is not given. A number
            is counted from the full kernel size, so that the output's size does not depend on
            the learned one; with `valid` it does.
        device, dtype: of the parameters. An output has its input's dtype, whichever that is.
        generator: a name of `ck.GENERATORS`, a `KernelConfig`, a class or an instance.
        sigma: the mask's initial width, in units of the kernel's [-1, 1], of all axes or one each.
        mask: a name of `MASKS`, a `MaskConfig`, a class, an instance, or None. `usual`: gaussian
            for a FlexConv, none for a CKConv.
        causal, causal_axis: whether outputs read no later inputs; by default in 1-D. With several
            axes, which of them is time, from 0.
        use_fft: auto, True or False: the backend.
        cache: in evaluation keep the sampled kernel until weights or mode change.

    Raises:
        UsageError: for arguments that no layer can be built from.
    """

    dimensions: ClassVar[int]
    usual_mask: ClassVar[str | None]

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: PerAxis | str = "same",
        stride: PerAxis = 1,
        padding: str | PerAxis = "same",
        dilation: PerAxis = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str | Sequence[str] = "zeros",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        *,
        generator: str | KernelConfig | Generator | type[Generator] = "MAGNet",
        sigma: float | Sequence[float] | None = None,
        mask: str | MaskConfig | Mask | type[Mask] | None = "usual",
        causal: bool | None = None,
        causal_axis: int = 0,
        use_fft: str | bool = "auto",
        cache: bool = False,
        **others: object,
    ) -> None:
        given = {"kernel_size": kernel_size, "stride": stride}
        check_nd_call(self, given, (generator, mask), others)
        if isinstance(generator, str):
            generator = KernelConfig(type=generator)
        conv = ConvConfig(
            use_fft=str(use_fft),
            bias=bias,
            padding_mode=tuple(padding_mode) if isinstance(padding_mode, list) else padding_mode,
            stride=stride,
            dilation=dilation,
            groups=groups,
            causal=causal,
            causal_axis=causal_axis,
            horizon=kernel_size,
            cache=cache,
        )
        factory = {"device": device, "dtype": dtype}
        try:
            mask = self._mask(self.usual_mask if mask == "usual" else mask, sigma, conv)
            super().__init__(
                in_channels, out_channels, self.dimensions, generator, conv, mask, **factory
            )
            self.padding = padding
            check_axes(self)
        except UsageError as error:
            raise UsageError(_in_own_words(str(error))) from None

    def _mask(
        self,
        mask: str | MaskConfig | Mask | type[Mask] | None,
        sigma: float | Sequence[float] | None,
        conv: ConvConfig,
    ) -> MaskConfig | Mask:
        if mask is None and sigma is not None:
            raise UsageError(f"sigma={sigma}: there is no mask; give mask=gaussian, or no sigma")
        if isinstance(mask, MaskConfig | Mask) and sigma is not None:
            raise UsageError(f"sigma={sigma}: give it to the mask, which is given too")
        if mask is None:
            return MaskConfig(use=False)
        width = {} if sigma is None else {"init_value": sigma}
        if isinstance(mask, str):
            return MaskConfig(type=mask, **width)
        return (
            mask.build(MaskConfig(**width), self.dimensions, conv)
            if isinstance(mask, type)
            else mask
        )


def _in_own_words(sentence: str) -> str:
    """A sentence about settings, said of the arguments that they are made of."""
    words = {
        "conv.horizon": "kernel_size",
        "mask.init_value": "sigma",
        "mask.type": "mask",
        "kernel.type": "generator",
        "conv.": "",
    }
    for setting, argument in words.items():
        sentence = sentence.replace(setting, argument)
    return sentence


class CKConv1d(_LikeConv, CKConv):
    """A `CKConv` of (B, C, L)."""

    dimensions, usual_mask = 1, None


class CKConv2d(_LikeConv, CKConv):
    """A `CKConv` of (B, C, H, W)."""

    dimensions, usual_mask = 2, None


class CKConv3d(_LikeConv, CKConv):
    """A `CKConv` of (B, C, D, H, W)."""

    dimensions, usual_mask = 3, None


class FlexConv1d(_LikeConv, FlexConv):
    """A `FlexConv` of (B, C, L)."""

    dimensions, usual_mask = 1, "gaussian"


class FlexConv2d(_LikeConv, FlexConv):
    """A `FlexConv` of (B, C, H, W)."""

    dimensions, usual_mask = 2, "gaussian"


class FlexConv3d(_LikeConv, FlexConv):
    """A `FlexConv` of (B, C, D, H, W)."""

    dimensions, usual_mask = 3, "gaussian"


class SepFlexConv1d(_LikeConv, SepFlexConv):
    """A `SepFlexConv` of (B, C, L)."""

    dimensions, usual_mask = 1, "fixed_gaussian"


class SepFlexConv2d(_LikeConv, SepFlexConv):
    """A `SepFlexConv` of (B, C, H, W)."""

    dimensions, usual_mask = 2, "fixed_gaussian"


class SepFlexConv3d(_LikeConv, SepFlexConv):
    """A `SepFlexConv` of (B, C, D, H, W)."""

    dimensions, usual_mask = 3, "fixed_gaussian"
