"""Keeping NaN and infinity within the kernel's reach, where a transform would spread them."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ckconv.functional.geometry import Geometry


def split_off(
    x: Tensor, geometry: Geometry, kernel_size: torch.Size
) -> tuple[Tensor, Tensor | None]:
    """The input with zeros for what is not finite, and what that does to the output.

    A Fourier transform carries one NaN to every output, earlier ones included. Returns x
    (B, C, *size) with none left in it, and what is to be added to the outputs of stride one,
    (B, 1, *out): NaN where a non-finite sample of any channel is in reach, otherwise zero; None
    where there is nothing to add.
    """
    if _is_surely_finite(x):
        return x, None
    with torch.no_grad():
        sums = x.detach().sum(1, keepdim=True, dtype=torch.promote_types(x.dtype, torch.float32))
        bad = (sums * 0 != 0).to(sums.dtype)  # (B, 1, *size)
        bad, geometry = geometry.extend(bad)
        sides = [side for axis in reversed(geometry.pad) for side in axis]
        count = torch.nn.functional.pad(bad, sides).int()
        for axis, span in enumerate(geometry.spans(kernel_size), start=2):
            count = _window_sums(count, axis, span)
        blight = torch.zeros_like(count, dtype=x.dtype).masked_fill(count > 0, math.nan)
    return torch.where(torch.isfinite(x), x, torch.zeros_like(x)), blight


def _is_surely_finite(x: Tensor) -> bool:
    """Whether a look at the numbers, where it is cheap, finds them all finite.

    On a GPU it would wait for the device. In a compiled graph, and where `torch.func` has put
    many tensors in the place of one, there is no number to look at.
    """
    if x.device.type != "cpu" or torch.compiler.is_compiling():
        return False
    try:
        return math.isfinite(x.detach().sum().item())
    except RuntimeError:
        return False


def _window_sums(count: Tensor, axis: int, span: int) -> Tensor:
    """Sums over every `span` neighbours along an axis."""
    total = count.cumsum(axis, dtype=torch.int32)
    before = total.narrow(axis, 0, total.shape[axis] - span)
    first = total.narrow(axis, span - 1, 1)
    rest = total.narrow(axis, span, total.shape[axis] - span) - before
    return torch.cat((first, rest), axis)
