"""Convolution as a product of spectra."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ckconv.functional.plan import transform_lengths


def fft_conv(
    x: Tensor, kernel: Tensor, bias: Tensor | None, pad: list[tuple[int, int]], stride: int = 1
) -> Tensor:
    """The same as `direct_conv`, computed in the frequency domain, in float32 or float64."""
    dtype = x.dtype
    if dtype not in (torch.float32, torch.float64):
        x, kernel = x.float(), kernel.float()
    size, kernel_size = x.shape[2:], kernel.shape[2:]
    lengths = transform_lengths(size, kernel_size, pad)
    axes = tuple(range(2, x.ndim))
    lead = [side for before, _ in reversed(pad) for side in (before, 0)]
    x_hat = torch.fft.rfftn(F.pad(x, lead), s=lengths, dim=axes)  # (B, C, *freq)
    k_hat = torch.fft.rfftn(kernel, s=lengths, dim=axes)  # (O, C, *freq)
    y_hat = mix_channels(x_hat, k_hat)  # (B, O, *freq)
    y = torch.fft.irfftn(y_hat, s=lengths, dim=axes)
    out = [n + a + b - k + 1 for n, k, (a, b) in zip(size, kernel_size, pad)]
    y = y[(..., *(slice(0, n, stride) for n in out))]
    if bias is not None:
        y = y + bias.view(-1, *[1] * len(out))
    return y.to(dtype)


def mix_channels(x_hat: Tensor, k_hat: Tensor) -> Tensor:
    """Sum over input channels, frequency by frequency: (B, C, *f), (O, C, *f) -> (B, O, *f)."""
    freq = x_hat.shape[2:]
    x_front = x_hat.flatten(2).permute(2, 0, 1)  # (f, B, C)
    k_front = k_hat.flatten(2).permute(2, 1, 0)  # (f, C, O)
    y_front = torch.bmm(x_front, k_front.conj())  # (f, B, O)
    return y_front.permute(1, 2, 0).unflatten(2, freq)
