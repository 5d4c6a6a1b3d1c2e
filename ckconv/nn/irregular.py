"""A continuous-kernel layer on sequences whose samples lie at times of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from ckconv.errors import UsageError
from ckconv.functional import FactoredKernel
from ckconv.functional.irregular import irregular_conv
from ckconv.nn.calls import is_plainly_causal
from ckconv.nn.conv import CKConv
from ckconv.nn.kernels import Grid
from ckconv.nn.sections import section

if TYPE_CHECKING:
    from jaxtyping import Float


def conv_at_times(
    layer: CKConv,
    x: Float[Tensor, "B channels L"],
    times: Float[Tensor, "B L"],
    last_step: bool = False,
) -> Float[Tensor, "B out steps"]:
    """What a 1-D `layer` makes of x (B, C, L) sampled at `times` (B, L): (B, O, L) or (B, O, 1).

    Times increase, in units of the kernel's sample step: at 0, 1, 2, ... the result is the
    layer's ordinary one. See `ckconv.functional.irregular` for what is computed and what it costs.
    Raises `UsageError` for layers that are no plain causal convolution, and for generators that
    normalise over their positions.
    """
    _check(layer)
    layer._meet(x)
    layer.in_use.last = None  # what `conv_kernel` shows is sampled when it is asked for
    (size,), ((start, _),) = layer.kernel_size, layer.crop()

    def kernel_at(positions: Tensor) -> FactoredKernel:
        return layer._factor(layer.generator.hidden(positions[None]), Grid([positions]))

    with section("convolution", layer):
        return irregular_conv(
            x,
            times.to(torch.promote_types(layer.generator.output.bias.dtype, torch.float32)),
            kernel_at,
            layer.bias,
            steps=size - 1,
            reach=size - 1 - start + 0.5,  # up to where the next sample would be nearer
            last_step=last_step,
        )


def _check(layer: CKConv) -> None:
    if layer.dim != 1 or not is_plainly_causal(layer) or layer.grid or layer.weight_dropout:
        raise UsageError(
            f"{layer}: time stamps need a causal layer of dim=1, with stride, dilation and groups "
            "of 1, padding=same, no weight_dropout, at the sampling rate it was made for"
        )
    if any(isinstance(part, nn.BatchNorm1d | nn.GroupNorm) for part in layer.generator.modules()):
        raise UsageError(
            "kernel.norm: the kernel would depend on which time stamps a batch holds; with time "
            "stamps leave kernel.norm empty, or use another kernel.type"
        )
