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
    """The same as `direct_conv` with `kernel.dense()`; long sequences are cut into frames."""
    dtype = x.dtype
    work = kernel.basis.dtype
    batch, channels, *size = x.shape
    frames = plan_frames(x.shape, kernel.shape, pad, kernel.basis.shape[0], x.device.type)
    axes = tuple(range(-len(size), 0))
    with torch.autocast(x.device.type, enabled=False):
        pieces = frames.split(x.to(work))  # (B, C, J, *n)
        x_hat = torch.fft.rfftn(pieces, dim=axes)  # (B, C, J, *freq)
        freq = x_hat.shape[3:]
        x_front = torch.view_as_real(x_hat.flatten(3)).permute(3, 4, 0, 2, 1)  # (F, 2, B, J, C)
        y_front = _mix(x_front.flatten(2, 3).contiguous(), kernel, frames)  # (F, 2, B J, O)
        y_pairs = y_front.unflatten(2, (batch, -1)).permute(2, 4, 3, 0, 1)  # (B, O, J, F, 2)
        y_hat = torch.view_as_complex(y_pairs.contiguous()).unflatten(3, freq)
        y = frames.join(torch.fft.irfftn(y_hat, s=frames.lengths, dim=axes))  # (B, O, *out)
        if stride > 1:
            y = y[(..., *[slice(None, None, stride)] * len(size))]
        if bias is not None:
            y = y + bias.to(work).view(-1, *[1] * len(size))
    return y.to(dtype)


def _mix(x: Tensor, kernel: FactoredKernel, frames: Frames) -> Tensor:
    """Apply the kernel frequency by frequency: (F, 2, B, C) -> (F, 2, B, O)."""
    if kernel.spectra is not None:
        if frames.lengths not in kernel.spectra:
            kernel.spectra[frames.lengths] = _write_out(*_spectrum(kernel, frames))
        k = kernel.spectra[frames.lengths]  # (F, 2C, O)
        return torch.bmm(_as_rows(x), k).unflatten(1, (2, -1))
    return _FactoredMix.apply(x, *_spectrum(kernel, frames))


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
    """[Xr Xi; Xi -Xr] from pairs: (F, 2, B, C) -> (F, 2B, 2C)."""
    f, _, batch, channels = x.shape
    rows = x.new_empty(f, 2, batch, 2, channels)
    rows[:, 0, :, 0] = x[:, 0]
    rows[:, 0, :, 1] = x[:, 1]
    rows[:, 1, :, 0] = x[:, 1]
    torch.neg(x[:, 0], out=rows[:, 1, :, 1])
    return rows.view(f, 2 * batch, 2 * channels)


class _FactoredMix(torch.autograd.Function):
    """Mix H spectra into C x O and apply them, a chunk of frequencies at a time.

    x (F, 2, B, C), basis (F, 2, H), weight (H, C, O) -> y (F, 2, B, O). The kernel's spectrum is
    made again in the backward pass rather than kept.
    """

    @staticmethod
    def forward(ctx, x: Tensor, basis: Tensor, weight: Tensor) -> Tensor:  # noqa: ANN001
        ctx.save_for_backward(x, basis, weight)
        f, _, batch, _ = x.shape
        y = x.new_empty(f, 2 * batch, weight.shape[2])
        for chunk in _chunks(x, weight):
            torch.bmm(_as_rows(x[chunk]), _write_out(basis[chunk], weight), out=y[chunk])
        return y.view(f, 2, batch, -1)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad_y: Tensor) -> tuple[Tensor, Tensor, Tensor]:  # noqa: ANN001
        x, basis, weight = ctx.saved_tensors
        functions, channels, out = weight.shape
        grad_y = grad_y.contiguous().flatten(1, 2)  # (F, 2B, O)
        grad_x, grad_basis = torch.empty_like(x), torch.empty_like(basis)
        grad_weight = torch.zeros_like(weight).flatten(1)
        for chunk in _chunks(x, weight):
            k = _write_out(basis[chunk], weight)  # (f, 2C, O)
            rows = torch.bmm(grad_y[chunk], k.transpose(1, 2))  # (f, 2B, 2C)
            rows = rows.view(*x[chunk].shape[:3], 2, channels)  # (f, 2, B, 2, C)
            torch.sub(rows[:, 0, :, 0], rows[:, 1, :, 1], out=grad_x[chunk][:, 0])
            torch.add(rows[:, 0, :, 1], rows[:, 1, :, 0], out=grad_x[chunk][:, 1])
            grad_k = torch.bmm(_as_rows(x[chunk]).transpose(1, 2), grad_y[chunk])  # (f, 2C, O)
            grad_k = grad_k.view(-1, channels * out)  # (2f, C O)
            pairs = basis[chunk].flatten(0, 1)  # (2f, H)
            grad_weight.addmm_(pairs.T, grad_k)
            torch.mm(grad_k, weight.flatten(1).T, out=grad_basis[chunk].flatten(0, 1))
        return grad_x, grad_basis, grad_weight.view_as(weight)


def _chunks(x: Tensor, weight: Tensor) -> list[slice]:
    """Runs of frequencies whose part of the kernel's spectrum is of a good size."""
    step = max(1, _CHUNK.get(x.device.type, 1 << 24) // (2 * weight[0].numel()))
    return [slice(start, start + step) for start in range(0, x.shape[0], step)]
