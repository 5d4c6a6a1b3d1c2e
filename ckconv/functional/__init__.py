"""The convolution itself: direct or by FFT, causal or centred, with kernels of any size.

import ckconv.functional as F
y = F.conv(x, kernel, bias, causal=True)
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from ckconv.errors import check_choice
from ckconv.functional.direct import direct_conv
from ckconv.functional.fft import fft_conv
from ckconv.functional.kernel import FactoredKernel
from ckconv.functional.plan import CostModel, Frames, plan_frames
from ckconv.functional.spectral import spectral_conv
from ckconv.functional.ways import current, using

__all__ = ["FactoredKernel", "choose_backend", "conv", "current", "using"]

BACKENDS = ("auto", "direct", "fft")


def conv(
    x: Tensor,
    kernel: Tensor | FactoredKernel,
    bias: Tensor | None = None,
    causal: bool = False,
    backend: str = "auto",
    stride: int = 1,
    padding: str = "same",
) -> Tensor:
    """Cross-correlate `x` with `kernel`.

    Args:
        x: (B, C, L) or (B, C, H, W).
        kernel: (O, C, K) or (O, C, Kh, Kw), written out or factored; may be longer than the input.
        bias: (O,) or None.
        causal: output t reads inputs up to t only: the kernel's last sample meets the present.
            Otherwise the kernel's middle sample does.
        backend: `direct`, `fft`, or `auto`, which takes the one that is expected to be faster.
        stride: step between outputs.
        padding: `same`, output as long as the input; `valid`, only where the kernel fits.

    Returns:
        (B, O, *size), in the dtype of `x`.

    Raises:
        ValueError: for shapes that do not fit each other.
        UsageError: for an unknown backend or padding.
    """
    backend = current().backend or backend
    if callable(backend):
        dense = kernel.dense().to(x.dtype) if isinstance(kernel, FactoredKernel) else kernel
        return backend(x, dense, bias, causal=causal, stride=stride, padding=padding)
    check_choice("backend", backend, BACKENDS)
    check_choice("padding", padding, ("same", "valid"))
    _check_shapes(x, kernel, bias, padding)
    if padding == "valid":
        pad = [(0, 0)] * (x.ndim - 2)
    else:
        kernel, pad = _reachable(kernel, x.shape[2:], causal)
    if backend == "auto":
        backend = choose_backend(x, kernel, pad)
    if isinstance(kernel, FactoredKernel):
        if backend == "fft":
            return spectral_conv(x, kernel, bias, pad, stride)
        kernel = kernel.dense().to(x.dtype)
    bias = None if bias is None else bias.to(x.dtype)
    return (fft_conv if backend == "fft" else direct_conv)(x, kernel, bias, pad, stride)


def choose_backend(x: Tensor, kernel: Tensor | FactoredKernel, pad: list[tuple[int, int]]) -> str:
    """`direct` or `fft`, whichever is expected to take less time for these shapes and device."""
    functions = kernel.basis.shape[0] if isinstance(kernel, FactoredKernel) else 0
    frames = plan_frames(x.shape, kernel.shape, pad, functions, x.device.type)
    return _choice(
        tuple(x.shape), tuple(kernel.shape), tuple(pad), functions, frames, x.device.type
    )


@lru_cache(maxsize=4096)
def _choice(
    x_shape: tuple, kernel_shape: tuple, pad: tuple, functions: int, frames: Frames, device: str
) -> str:
    cost = CostModel(device)
    direct = cost.direct(x_shape, kernel_shape, pad, functions)
    return "fft" if cost.spectral(x_shape, kernel_shape, frames, functions) < direct else "direct"


def _check_shapes(
    x: Tensor, kernel: Tensor | FactoredKernel, bias: Tensor | None, padding: str
) -> None:
    if x.ndim not in (3, 4) or kernel.ndim != x.ndim or kernel.shape[1] != x.shape[1]:
        raise ValueError(
            f"input {tuple(x.shape)} and kernel {tuple(kernel.shape)} do not fit: expected "
            "(B, C, L) with (O, C, K), or (B, C, H, W) with (O, C, Kh, Kw)"
        )
    if bias is not None and bias.shape != kernel.shape[:1]:
        raise ValueError(f"bias {tuple(bias.shape)} does not fit {kernel.shape[0]} outputs")
    if padding == "valid" and any(k > n for k, n in zip(kernel.shape[2:], x.shape[2:])):
        raise ValueError(
            f"padding=valid: the kernel {tuple(kernel.shape[2:])} is larger than the input "
            f"{tuple(x.shape[2:])}; use padding=same"
        )


def _reachable(
    kernel: Tensor | FactoredKernel, size: torch.Size, causal: bool
) -> tuple[Tensor | FactoredKernel, list[tuple[int, int]]]:
    """Drop the kernel's samples that meet nothing but padding; say how much padding is left."""
    slices, pad = [], []
    for k, n in zip(kernel.shape[2:], size):
        centre = k - 1 if causal else k // 2
        before, after = min(centre, n - 1), min(k - 1 - centre, n - 1)
        slices.append(slice(centre - before, centre + after + 1))
        pad.append((before, after))
    if isinstance(kernel, FactoredKernel):
        return kernel.crop(tuple(slices)), pad
    return kernel[(..., *slices)], pad
