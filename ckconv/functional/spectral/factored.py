"""Convolution with a factored kernel in the frequency domain."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ckconv.functional.finite import split_off
from ckconv.functional.geometry import Geometry
from ckconv.functional.kernel import FactoredKernel, functions
from ckconv.functional.spectral.depthwise import depthwise
from ckconv.functional.spectral.frames import Frames
from ckconv.functional.spectral.mixing import apply_spectrum, mix, write_out
from ckconv.functional.spectral.plan import is_depthwise, plan_frames
from ckconv.functional.spectral.transform import at_least_float, kernel_fft, real_fft
from ckconv.functional.ways import full_precision

_CHANNELS_LAST = {2: torch.channels_last, 3: torch.channels_last_3d}


def spectral_conv(
    x: Tensor, kernel: Tensor | FactoredKernel, bias: Tensor | None, geometry: Geometry
) -> Tensor:
    """The same as `direct_conv`, of a factored kernel, or a depthwise one in either form.

    Long sequences are cut into frames. Computed in float32 or float64. As with a direct
    convolution, images that come channels-last leave channels-last.
    """
    shape, dtype, memory_format = x.shape, x.dtype, _memory_format(x)
    kernel_size = kernel.shape[2:]
    spans = geometry.spans(kernel_size)
    frames = plan_frames(
        shape,
        (*kernel.shape[:2], *spans),
        geometry.pad,
        functions(kernel),
        x.device.type,
        geometry.circular,
    )
    with full_precision(x.device):
        work = torch.promote_types(kernel.dtype, torch.float32)
        x, blight = split_off(x.to(work), geometry, kernel_size)
        x, geometry = geometry.extend(x, but=frames.wrapped)
        product = depthwise if is_depthwise(shape, kernel.shape) else _dense
        y = geometry.strided(product(x, kernel, frames, geometry.dilation))  # (B, O, *out)
        if bias is not None:
            y = y + bias.to(work).view(-1, *[1] * len(spans))
        if blight is not None:
            y = y + geometry.strided(blight)
    if memory_format is not None:
        y = y.contiguous(memory_format=memory_format)
    return y.to(dtype)


def _memory_format(x: Tensor) -> torch.memory_format | None:
    """Channels-last where x (B, C, *size) is."""
    is_last = x.ndim > 3 and x.stride(1) == 1 and any(n > 1 for n in x.shape[2:])
    return _CHANNELS_LAST[x.ndim - 2] if is_last else None


def _dense(x: Tensor, kernel: FactoredKernel, frames: Frames, dilation: tuple[int, ...]) -> Tensor:
    """Sums over the channels of each group, at every output: (B, C, *size) -> (B, O, *out)."""
    channels, dim = kernel.shape[1], len(dilation)
    x_hat = real_fft(frames.split(x), dim)  # (B, J, G C, *freq)
    batch, count, _, *freq = x_hat.shape
    x_front = _swap(x_hat.reshape(-1, math.prod(freq)))
    x_front = x_front.view(-1, batch * count, x.shape[1] // channels, channels)  # (F, B J, G, C)
    y_front = _mix(x_front, kernel, frames, dilation)  # (F, B J, G, O)
    y_hat = _swap(y_front.flatten(1)).view(batch, count, -1, *freq)  # (B, J, G O, *freq)
    return frames.join(torch.fft.irfftn(y_hat, s=frames.lengths, dim=tuple(range(-dim, 0))))


def _swap(x: Tensor) -> Tensor:
    """Transpose a complex matrix in memory. PyTorch has a fast copy for exactly this layout."""
    return x.T.contiguous()


def _mix(x: Tensor, kernel: FactoredKernel, frames: Frames, dilation: tuple[int, ...]) -> Tensor:
    """Apply the kernel frequency by frequency: complex (F, B, G, C) -> (F, B, G, O)."""
    groups = x.shape[2]
    if kernel.spectra is None:
        return mix(x, *_spectrum(kernel, frames, dilation, groups))
    key = frames.lengths, frames.wrap, dilation
    spectrum = kernel.spectra.get(
        key, lambda: write_out(*_spectrum(kernel, frames, dilation, groups))
    )
    return apply_spectrum(x, spectrum)


def _spectrum(
    kernel: FactoredKernel, frames: Frames, dilation: tuple[int, ...], groups: int
) -> tuple[Tensor, Tensor]:
    """The functions' spectra (F, 2, H) and the weights (H, G, C, O) that mix them."""
    hat = kernel_fft(at_least_float(kernel.basis), frames, dilation).flatten(1)  # (H, F)
    basis = torch.view_as_real(hat).permute(1, 2, 0).contiguous()
    weight = at_least_float(kernel.weight).unflatten(0, (groups, -1))  # (G, O, C, H)
    return basis, weight.permute(3, 0, 2, 1).contiguous()
