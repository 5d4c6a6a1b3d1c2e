"""Convolution with a factored kernel in the frequency domain."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ckconv.functional.finite import split_off
from ckconv.functional.geometry import Geometry
from ckconv.functional.kernel import FactoredKernel, functions
from ckconv.functional.spectral.dense import dense
from ckconv.functional.spectral.depthwise import depthwise
from ckconv.functional.spectral.plan import is_depthwise
from ckconv.functional.spectral.products import by_products
from ckconv.functional.spectral.tiles import Tiles
from ckconv.functional.spectral.tiling import best_way
from ckconv.functional.ways import current, full_precision

if TYPE_CHECKING:
    from jaxtyping import Float

_CHANNELS_LAST = {2: torch.channels_last, 3: torch.channels_last_3d}


def spectral_conv(
    x: Float[Tensor, "B channels *size"],
    kernel: Float[Tensor, "out per_group *k"] | FactoredKernel,
    bias: Float[Tensor, " out"] | None,
    geometry: Geometry,
) -> Float[Tensor, "B out *steps"]:
    """The same as `direct_conv`, of a factored kernel, or a depthwise one in either form.

    Long sequences are cut into frames. Computed in float32 or float64. As with a direct
    convolution, images that come channels-last leave channels-last.
    """
    shape, dtype, memory_format = tuple(x.shape), x.dtype, _memory_format(x)
    kernel_size = kernel.shape[2:]
    shapes = shape, tuple(kernel.shape)
    way, _ = best_way(*shapes, geometry, functions(kernel), x.device.type, current())
    with full_precision(x.device):
        work = torch.promote_types(kernel.dtype, torch.float32)
        x, blight = split_off(x.to(work), geometry, kernel_size)
        x, geometry = geometry.extend(x, but=way.wrapped)
        product = depthwise if is_depthwise(*shapes) else dense
        product = by_products if isinstance(way, Tiles) else product
        y = geometry.strided(product(x, kernel, way, geometry.dilation))  # (B, O, *out)
        if bias is not None:
            y = y + bias.to(work).view(-1, *[1] * len(kernel_size))
        if blight is not None:
            y = y + geometry.strided(blight)
    return y.contiguous(memory_format=memory_format).to(dtype)


def _memory_format(x: Tensor) -> torch.memory_format:
    """Channels-last where x (B, C, *size) is."""
    is_last = x.ndim > 3 and x.stride(1) == 1 and any(n > 1 for n in x.shape[2:])
    return _CHANNELS_LAST[x.ndim - 2] if is_last else torch.contiguous_format
