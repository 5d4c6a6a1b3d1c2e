"""Real Fourier transforms, and how inputs and kernels are laid out for them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ckconv.functional.spectral.frames import Frames


class _RealFFT(torch.autograd.Function):
    """`rfftn` over the last `ndim` axes, whose backward pass is a real transform too.

    PyTorch's own fills in the other half of the spectrum and transforms all of it.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, ndim: int) -> Tensor:
        return torch.fft.rfftn(x, dim=tuple(range(-ndim, 0)))

    @staticmethod
    def setup_context(ctx, inputs: tuple, output: Tensor) -> None:  # noqa: ANN001
        x, ctx.ndim = inputs
        ctx.size = x.shape[-ctx.ndim :]

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor, None]:  # noqa: ANN001
        n = ctx.size[-1]
        ends = [0] if n % 2 else [0, n // 2]
        share = torch.full((grad.shape[-1],), 0.5, dtype=grad.real.dtype, device=grad.device)
        share[ends] = 1  # every frequency inside stands for itself and its mirror image
        axes = tuple(range(-ctx.ndim, 0))
        return torch.fft.irfftn(grad * share, s=ctx.size, dim=axes, norm="forward"), None

    @staticmethod
    def jvp(ctx, tangent: Tensor, _) -> Tensor:  # noqa: ANN001
        return torch.fft.rfftn(tangent, dim=tuple(range(-ctx.ndim, 0)))


def real_fft(x: Tensor, ndim: int) -> Tensor:
    """`torch.fft.rfftn` over the last `ndim` axes."""
    if torch.compiler.is_compiling():
        # It knows no functions with a forward derivative, and takes a spectrum to be contiguous.
        return torch.fft.rfftn(x.contiguous(), dim=tuple(range(-ndim, 0)))
    return _RealFFT.apply(x, ndim)


def lay_out(kernel: Tensor, frames: Frames, dilation: Sequence[int]) -> Tensor:
    """Put a kernel's samples (..., *k) where the transform of `frames.lengths` wants them.

    Holes of the dilation are filled with zeros. On an axis that is wrapped, sample i goes to
    `i * dilation - before`, modulo the transform's length, and longer kernels are folded.
    """
    first = kernel.ndim - len(dilation)
    wrap = frames.wrap or (None,) * len(dilation)
    for axis, (n, d, shift) in enumerate(zip(frames.lengths, dilation, wrap), start=first):
        k = kernel.shape[axis]
        if shift is None and d == 1:
            continue
        at = torch.arange(k, device=kernel.device) * d
        if shift is not None:
            at = (at - shift) % n
        shape = list(kernel.shape)
        shape[axis] = n if shift is not None else d * (k - 1) + 1
        kernel = kernel.new_zeros(shape).index_add(axis, at, kernel)
    return kernel


def kernel_fft(kernel: Tensor, frames: Frames, dilation: Sequence[int]) -> Tensor:
    """The spectrum of a kernel (..., *k): (..., *freq)."""
    axes = tuple(range(-len(dilation), 0))
    return torch.fft.rfftn(lay_out(kernel, frames, dilation), s=frames.lengths, dim=axes)


def at_least_float(x: Tensor) -> Tensor:
    """In float32 where it is of lower precision, which no transform knows."""
    return x.to(torch.promote_types(x.dtype, torch.float32))
