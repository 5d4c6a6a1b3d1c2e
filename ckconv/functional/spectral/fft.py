"""Convolution as a product of spectra."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ckconv.functional.finite import split_off
from ckconv.functional.geometry import Geometry
from ckconv.functional.spectral.frames import whole_frames
from ckconv.functional.spectral.transform import kernel_fft

if TYPE_CHECKING:
    from jaxtyping import Complex, Float


def fft_conv(
    x: Float[Tensor, "B channels *size"],
    kernel: Float[Tensor, "out per_group *k"],
    bias: Float[Tensor, " out"] | None,
    geometry: Geometry,
) -> Float[Tensor, "B out *steps"]:
    """The same as `direct_conv`, computed in the frequency domain, in float32 or float64."""
    dtype = x.dtype
    if dtype not in (torch.float32, torch.float64):
        x, kernel = x.float(), kernel.float()
    size, kernel_size = x.shape[2:], kernel.shape[2:]
    frames = whole_frames(size, geometry.spans(kernel_size), geometry.pad, geometry.circular)
    axes = tuple(range(2, x.ndim))
    x, blight = split_off(x, geometry, kernel_size)
    x, geometry = geometry.extend(x, but=frames.wrapped)
    x_hat = torch.fft.rfftn(frames.split(x)[:, 0], dim=axes)  # (B, C, *freq)
    k_hat = kernel_fft(kernel, frames, geometry.dilation)  # (O, C / groups, *freq)
    y_hat = mix_channels(x_hat, k_hat)  # (B, O, *freq)
    y = torch.fft.irfftn(y_hat, s=frames.lengths, dim=axes)
    y = geometry.strided(y[(..., *(slice(0, n) for n in frames.out))])
    if bias is not None:
        y = y + bias.view(-1, *[1] * len(size))
    if blight is not None:
        y = y + geometry.strided(blight)
    return y.to(dtype)


def mix_channels(
    x_hat: Complex[Tensor, "B channels *freq"], k_hat: Complex[Tensor, "out per_group *freq"]
) -> Complex[Tensor, "B out *freq"]:
    """Sums over each group's channels at every frequency: (B, C, *f), (O, C / groups, *f)."""
    freq = x_hat.shape[2:]
    groups = x_hat.shape[1] // k_hat.shape[1]
    x_front = x_hat.flatten(2).unflatten(1, (groups, -1)).permute(3, 1, 0, 2)  # (f, G, B, C)
    k_front = k_hat.flatten(2).unflatten(0, (groups, -1)).permute(3, 0, 2, 1)  # (f, G, C, O)
    y_front = torch.matmul(x_front, k_front.conj())  # (f, G, B, O)
    return y_front.permute(2, 1, 3, 0).flatten(1, 2).unflatten(2, freq)  # (B, O, *f)
