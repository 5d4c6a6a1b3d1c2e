"""Convolution by sliding the kernel over the input."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

_CONV = {1: F.conv1d, 2: F.conv2d}


def direct_conv(
    x: Tensor, kernel: Tensor, bias: Tensor | None, pad: list[tuple[int, int]], stride: int = 1
) -> Tensor:
    """Cross-correlate x (B, C, *size) with kernel (O, C, *k), `pad` samples added per axis side.

    Returns (B, O, *out) with out = size + before + after - k + 1 per axis, divided by `stride`.
    """
    conv = _CONV[kernel.ndim - 2]
    if all(before == after for before, after in pad):
        return conv(x, kernel, bias, stride=stride, padding=[before for before, _ in pad])
    flat = [side for axis in reversed(pad) for side in axis]
    return conv(F.pad(x, flat), kernel, bias, stride=stride)
