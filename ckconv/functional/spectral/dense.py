"""Convolution in the frequency domain with sums over channels: a factored kernel's own product."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ckconv.functional.kernel import FactoredKernel
from ckconv.functional.spectral.frames import Frames
from ckconv.functional.spectral.mixing import apply_spectrum, mix, write_out
from ckconv.functional.spectral.transform import at_least_float, kernel_fft, real_fft

if TYPE_CHECKING:
    from jaxtyping import Float


def dense(
    x: Float[Tensor, "B channels *size"],
    kernel: FactoredKernel,
    frames: Frames,
    dilation: tuple[int, ...],
) -> Float[Tensor, "B out *steps"]:
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
