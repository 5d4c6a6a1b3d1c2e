"""Mixing channels frequency by frequency, with a factored kernel's spectrum.

With a kernel of C x O channels that mixes H functions, the spectrum at each of F frequencies is
a C x O matrix, itself a mix of H numbers. Frequencies go in front: one matrix product mixes the
H spectra, one batched product per frequency applies the result to the input's spectra. Complex
numbers are written as pairs of real ones, so that both are ordinary matrix products,

    [Yr]   [Xr  Xi] [Kr]
    [Yi] = [Xi -Xr] [Ki]        (cross-correlation: Y = X conj(K)),

and the kernel's spectrum, by far the largest array, exists for a chunk of frequencies at a time.
Groups of channels are further matrices beside the frequencies.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ckconv.functional.spectral import multilinear
from ckconv.functional.ways import current

if TYPE_CHECKING:
    from jaxtyping import Complex, Float

# Numbers of the kernel's spectrum that exist at once. On a CPU they should stay in the cache
# between being made and being used; on a GPU a chunk should fill the device.
_CHUNK = {"cpu": 1 << 19, "cuda": 1 << 26}


def mix(
    x: Complex[Tensor, "F B G C"], basis: Float[Tensor, "F 2 H"], weight: Float[Tensor, "H G C O"]
) -> Complex[Tensor, "F B G O"]:
    """Mix H spectra into a kernel's and apply it.

    x (F, B, G, C) complex, basis (F, 2, H) real and imaginary parts, weight (H, G, C, O) ->
    y (F, B, G, O) complex. The kernel's spectrum is made again in the backward pass rather than
    kept.
    """
    if torch.compiler.is_compiling():  # the compiler knows no functions with a derivative forward
        return apply_spectrum(x, write_out(basis, weight))
    return multilinear.apply(_Mix(numbers_at_once(x.device)), x, basis, weight)


def numbers_at_once(device: torch.device) -> int:
    """Numbers of a spectrum that should exist at once."""
    return current().chunk or _CHUNK.get(device.type, 1 << 24)


def write_out(
    basis: Float[Tensor, "F 2 H"], weight: Float[Tensor, "H G C O"]
) -> Float[Tensor, "F*G 2*C O"]:
    """The kernel's spectrum, real above imaginary parts: (F G, 2 C, O)."""
    functions, groups, channels, out = weight.shape
    mixed = basis.flatten(0, 1) @ weight.flatten(1)  # (2 F, G C O)
    if groups == 1:
        return mixed.view(-1, 2 * channels, out)
    mixed = mixed.view(-1, 2, groups, channels, out).transpose(1, 2)
    return mixed.reshape(-1, 2 * channels, out)


def apply_spectrum(
    x: Complex[Tensor, "F B G C"], spectrum: Float[Tensor, "F*G 2*C O"]
) -> Complex[Tensor, "F B G O"]:
    """Apply a kernel's spectrum (F G, 2 C, O) to x (F, B, G, C): (F, B, G, O)."""
    re, im = _parts(torch.bmm(_as_rows(x), spectrum), x)
    return torch.complex(re.contiguous(), im.contiguous())


def _as_rows(x: Tensor) -> Tensor:
    """[Xr Xi; Xi -Xr], real, from complex: (F, B, G, C) -> (F G, 2 B, 2 C)."""
    f, batch, groups, channels = x.shape
    x = x.transpose(1, 2)
    if torch.compiler.is_compiling():
        re, im = x.real, x.imag
        rows = torch.stack((torch.stack((re, im), 3), torch.stack((im, -re), 3)), 2)
        return rows.reshape(f * groups, 2 * batch, 2 * channels)
    rows = torch.empty(f, groups, 2, batch, 2, channels, dtype=x.real.dtype, device=x.device)
    rows[:, :, 0, :, 0] = x.real
    rows[:, :, 0, :, 1] = x.imag
    rows[:, :, 1, :, 0] = x.imag
    torch.neg(x.real, out=rows[:, :, 1, :, 1])
    return rows.view(f * groups, 2 * batch, 2 * channels)


def _parts(rows: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """The upper and the lower half of rows (F G, 2 B, N), each (F, B, G, N)."""
    f, batch, groups = x.shape[:3]
    upper, lower = rows.view(f, groups, 2, batch, -1).unbind(2)
    return upper.transpose(1, 2), lower.transpose(1, 2)


@dataclass(frozen=True)
class _Mix:
    """`mix`, for as many frequencies at a time as make a spectrum of `at_once` numbers."""

    at_once: int

    def product(self, x: Tensor, basis: Tensor, weight: Tensor) -> Tensor:
        y = x.new_empty(*x.shape[:3], weight.shape[3])
        for chunk in multilinear.runs(x.shape[0], 2 * weight[0].numel(), self.at_once):
            rows = torch.bmm(_as_rows(x[chunk]), write_out(basis[chunk], weight))
            torch.complex(*_parts(rows, x[chunk]), out=y[chunk])
        return y

    def gradient(
        self, x: Tensor, basis: Tensor, weight: Tensor, grad: Tensor
    ) -> tuple[Tensor, ...]:
        grad_x, grad_basis = torch.empty_like(x), torch.empty_like(basis)
        grad_weight = torch.zeros_like(weight).flatten(1)
        _, groups, channels, out = weight.shape
        for chunk in multilinear.runs(x.shape[0], 2 * weight[0].numel(), self.at_once):
            k = write_out(basis[chunk], weight)  # (f G, 2 C, O)
            own = grad[chunk].transpose(1, 2)  # (f, G, B, O)
            own = torch.stack((own.real, own.imag), dim=2).view(k.shape[0], -1, out)
            rows = torch.bmm(own, k.transpose(1, 2))  # (f G, 2 B, 2 C)
            re, im = _parts(rows, x[chunk])  # (f, B, G, 2 C): of the two rows of [Xr Xi; Xi -Xr]
            real = re[..., :channels] - im[..., channels:]
            imag = re[..., channels:] + im[..., :channels]
            torch.complex(real, imag, out=grad_x[chunk])
            grad_k = torch.bmm(_as_rows(x[chunk]).transpose(1, 2), own)  # (f G, 2 C, O)
            if groups > 1:
                grad_k = grad_k.view(-1, groups, 2, channels * out).transpose(1, 2)
            grad_k = grad_k.reshape(-1, groups * channels * out)  # (2 f, G C O)
            grad_weight.addmm_(basis[chunk].flatten(0, 1).T, grad_k)
            torch.mm(grad_k, weight.flatten(1).T, out=grad_basis[chunk].flatten(0, 1))
        return grad_x, grad_basis, grad_weight.view_as(weight)
