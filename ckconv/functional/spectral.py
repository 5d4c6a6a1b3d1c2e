"""Convolution with a factored kernel in the frequency domain.

With a kernel of C x O channels that mixes H functions, the spectrum at each of F frequencies is
a C x O matrix, itself a mix of H numbers. Frequencies go in front: one matrix product mixes the
H spectra, one batched product per frequency applies the result to the input's spectra. Complex
numbers are written as pairs of real ones, so that both are ordinary matrix products,

    [Yr]   [Xr  Xi] [Kr]
    [Yi] = [Xi -Xr] [Ki]        (cross-correlation: Y = X conj(K)),

and the kernel's spectrum, by far the largest array, exists for a chunk of frequencies at a time.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ckconv.functional.kernel import FactoredKernel
from ckconv.functional.plan import Frames, plan_frames
from ckconv.functional.ways import current

# Numbers of the kernel's spectrum that exist at once. On a CPU they should stay in the cache
# between being made and being used; on a GPU a chunk should fill the device.
_CHUNK = {"cpu": 1 << 19, "cuda": 1 << 26}


def spectral_conv(
    x: Tensor,
    kernel: FactoredKernel,
    bias: Tensor | None,
    pad: list[tuple[int, int]],
    stride: int = 1,
) -> Tensor:
    """The same as `direct_conv` with `kernel.dense()`; long sequences are cut into frames.

    As with a direct convolution, images that come channels-last leave channels-last.
    """
    dtype = x.dtype
    channels_last = x.ndim == 4 and x.stride(1) == 1 and x[0, 0].numel() > 1
    work = kernel.basis.dtype
    batch, channels, *size = x.shape
    frames = plan_frames(x.shape, kernel.shape, pad, kernel.basis.shape[0], x.device.type)
    axes = tuple(range(-len(size), 0))
    with torch.autocast(x.device.type, enabled=False):
        pieces = frames.split(x.to(work))  # (B, J, C, *n)
        x_hat = _RealFFT.apply(pieces, len(size))  # (B, J, C, *freq)
        freq = x_hat.shape[3:]
        x_front = _swap(x_hat.reshape(-1, freq.numel())).unflatten(1, (-1, channels))  # (F, BJ, C)
        y_front = _mix(x_front, kernel, frames)  # (F, BJ, O)
        y_hat = _swap(y_front.flatten(1)).view(batch, frames.count, -1, *freq)  # (B, J, O, *freq)
        y = frames.join(torch.fft.irfftn(y_hat, s=frames.lengths, dim=axes))  # (B, O, *out)
        if stride > 1:
            y = y[(..., *[slice(None, None, stride)] * len(size))]
        if bias is not None:
            y = y + bias.to(work).view(-1, *[1] * len(size))
    if channels_last:
        y = y.contiguous(memory_format=torch.channels_last)
    return y.to(dtype)


class _RealFFT(torch.autograd.Function):
    """`rfftn` over the last `ndim` axes, whose backward pass is a real transform too.

    PyTorch's own fills in the other half of the spectrum and transforms all of it.
    """

    @staticmethod
    def forward(ctx, x: Tensor, ndim: int) -> Tensor:  # noqa: ANN001
        ctx.size = x.shape[-ndim:]
        return torch.fft.rfftn(x, dim=tuple(range(-ndim, 0)))

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad: Tensor) -> tuple[Tensor, None]:  # noqa: ANN001
        n = ctx.size[-1]
        grad = grad * 0.5  # every frequency inside stands for itself and its mirror image
        grad[..., 0] *= 2
        if n % 2 == 0:
            grad[..., -1] *= 2
        axes = tuple(range(-len(ctx.size), 0))
        return torch.fft.irfftn(grad, s=ctx.size, dim=axes, norm="forward"), None


def _swap(x: Tensor) -> Tensor:
    """Transpose a complex matrix in memory. PyTorch has a fast copy for exactly this layout."""
    return x.T.contiguous()


def _mix(x: Tensor, kernel: FactoredKernel, frames: Frames) -> Tensor:
    """Apply the kernel frequency by frequency: complex (F, B, C) -> (F, B, O)."""
    if kernel.spectra is None:
        chunk = current().chunk or _CHUNK.get(x.device.type, 1 << 24)
        return _FactoredMix.apply(x, *_spectrum(kernel, frames), chunk)
    spectrum = kernel.spectra.get(frames.lengths, lambda: _write_out(*_spectrum(kernel, frames)))
    rows = torch.bmm(_as_rows(x), spectrum)  # (F, 2B, O)
    return torch.complex(*rows.chunk(2, dim=1))


def _spectrum(kernel: FactoredKernel, frames: Frames) -> tuple[Tensor, Tensor]:
    """The functions' spectra (F, 2, H) and the weights (H, C, O) that mix them."""
    axes = tuple(range(1, kernel.basis.ndim))
    hat = torch.fft.rfftn(kernel.basis, s=frames.lengths, dim=axes).flatten(1)  # (H, F)
    basis = torch.view_as_real(hat).permute(1, 2, 0).contiguous()
    return basis, kernel.weight.permute(2, 1, 0).contiguous()


def _write_out(basis: Tensor, weight: Tensor) -> Tensor:
    """The kernel's spectrum, real above imaginary parts: (F, 2C, O)."""
    functions, channels, out = weight.shape
    mixed = basis.flatten(0, 1) @ weight.flatten(1)  # (2F, C O)
    return mixed.view(-1, 2 * channels, out)


def _as_rows(x: Tensor) -> Tensor:
    """[Xr Xi; Xi -Xr], real, from complex: (F, B, C) -> (F, 2B, 2C)."""
    f, batch, channels = x.shape
    rows = torch.empty(f, 2, batch, 2, channels, dtype=x.real.dtype, device=x.device)
    rows[:, 0, :, 0] = x.real
    rows[:, 0, :, 1] = x.imag
    rows[:, 1, :, 0] = x.imag
    torch.neg(x.real, out=rows[:, 1, :, 1])
    return rows.view(f, 2 * batch, 2 * channels)


class _FactoredMix(torch.autograd.Function):
    """Mix H spectra into C x O and apply them, a chunk of frequencies at a time.

    x (F, B, C) complex, basis (F, 2, H), weight (H, C, O) -> y (F, B, O) complex. The kernel's
    spectrum is made again in the backward pass rather than kept.
    """

    @staticmethod
    def forward(ctx, x: Tensor, basis: Tensor, weight: Tensor, size: int) -> Tensor:  # noqa: ANN001
        ctx.save_for_backward(x, basis, weight)
        ctx.chunk = size
        y = x.new_empty(*x.shape[:2], weight.shape[2])
        for chunk in _chunks(x, weight, size):
            rows = torch.bmm(_as_rows(x[chunk]), _write_out(basis[chunk], weight))  # (f, 2B, O)
            torch.complex(*rows.chunk(2, dim=1), out=y[chunk])
        return y

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad_y: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:  # noqa: ANN001
        x, basis, weight = ctx.saved_tensors
        _, channels, out = weight.shape
        grad_x, grad_basis = torch.empty_like(x), torch.empty_like(basis)
        grad_weight = torch.zeros_like(weight).flatten(1)
        for chunk in _chunks(x, weight, ctx.chunk):
            k = _write_out(basis[chunk], weight)  # (f, 2C, O)
            grad_rows = torch.cat((grad_y[chunk].real, grad_y[chunk].imag), dim=1)  # (f, 2B, O)
            rows = torch.bmm(grad_rows, k.transpose(1, 2))  # (f, 2B, 2C)
            re, im = rows.chunk(2, dim=1)  # (f, B, 2C) each: of the two rows of [Xr Xi; Xi -Xr]
            real = re[..., :channels] - im[..., channels:]
            torch.complex(real, re[..., channels:] + im[..., :channels], out=grad_x[chunk])
            grad_k = torch.bmm(_as_rows(x[chunk]).transpose(1, 2), grad_rows)  # (f, 2C, O)
            grad_k = grad_k.view(-1, channels * out)  # (2f, C O)
            grad_weight.addmm_(basis[chunk].flatten(0, 1).T, grad_k)
            torch.mm(grad_k, weight.flatten(1).T, out=grad_basis[chunk].flatten(0, 1))
        return grad_x, grad_basis, grad_weight.view_as(weight), None


def _chunks(x: Tensor, weight: Tensor, size: int) -> list[slice]:
    """Runs of frequencies whose part of the kernel's spectrum is of `size` numbers."""
    step = max(1, size // (2 * weight[0].numel()))
    return [slice(start, start + step) for start in range(0, x.shape[0], step)]
