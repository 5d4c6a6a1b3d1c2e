"""Convolution by sliding the kernel over the input."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch.nn.functional as F
from torch import Tensor

from ckconv.functional.geometry import Geometry

if TYPE_CHECKING:
    from jaxtyping import Float

_CONV = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}


def direct_conv(
    x: Float[Tensor, "B channels *size"],
    kernel: Float[Tensor, "out per_group *k"],
    bias: Float[Tensor, " out"] | None,
    geometry: Geometry,
) -> Float[Tensor, "B out *steps"]:
    """Cross-correlate x (B, C, *size) with kernel (O, C / groups, *k).

    Returns (B, O, *out), out per axis as in `torch.nn.functional.conv1d`.
    """
    x, geometry = geometry.extend(x)
    settings = {
        "stride": geometry.stride,
        "dilation": geometry.dilation,
        "groups": x.shape[1] // kernel.shape[1],
    }
    conv = _CONV[kernel.ndim - 2]
    if all(before == after for before, after in geometry.pad):
        settings["padding"] = [before for before, _ in geometry.pad]
    else:
        x = F.pad(x, [side for axis in reversed(geometry.pad) for side in axis])
    return conv(x, kernel, bias, **settings)
