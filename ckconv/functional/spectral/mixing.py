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
    from jaxtyping import Float

# Numbers of the kernel's spectrum that exist at once. On a CPU they should stay in the cache
# between being made and being used; on a GPU a chunk should fill the device.
_CHUNK = {"cpu": 1 << 19, "cuda": 1 << 26}


def mix(
    x: Float[Tensor, "FG 2 B C"], basis: Float[Tensor, "F 2 H"], weight: Float[Tensor, "H G C O"]
) -> Float[Tensor, "FG 2 B O"]:
    """Mix H spectra into a kernel's and apply it.

    x (F G, 2, B, C), basis (F, 2, H), real and imaginary parts, weight (H, G, C, O) ->
    y (F G, 2, B, O). The kernel's spectrum is made again in the backward pass rather than kept.
    """
    if torch.compiler.is_compiling():  # the compiler knows no functions with a derivative forward
        return apply_spectrum(x, write_out(basis, weight))
    return multilinear.apply(_Mix(numbers_at_once(x.device)), x, basis, weight)


def numbers_at_once(device: torch.device) -> int:
    """Numbers of a spectrum that should exist at once."""
    return current().chunk or _CHUNK.get(device.type, 1 << 24)


def write_out(
    basis: Float[Tensor, "F 2 H"], weight: Float[Tensor, "H G C O"]
) -> Float[Tensor, "FG 2*C O"]:
    """The kernel's spectrum, real above imaginary parts: (F G, 2 C, O)."""
    functions, groups, channels, out = weight.shape
    mixed = basis.flatten(0, 1) @ weight.flatten(1)  # (2 F, G C O)
    if groups == 1:
        return mixed.view(-1, 2 * channels, out)
    mixed = mixed.view(-1, 2, groups, channels, out).transpose(1, 2)
    return mixed.reshape(-1, 2 * channels, out)


def apply_spectrum(
    x: Float[Tensor, "FG 2 B C"], spectrum: Float[Tensor, "F*G 2*C O"]
) -> Float[Tensor, "FG 2 B O"]:
    """Apply a kernel's spectrum (F G, 2 C, O) to x (F G, 2, B, C): (F G, 2, B, O)."""
    return torch.bmm(as_rows(x), spectrum).unflatten(1, (2, -1))


def as_rows(x: Float[Tensor, "F 2 B C"]) -> Float[Tensor, "F 2*B 2*C"]:
    """[Xr Xi; Xi -Xr] of x (F, 2, B, C): (F, 2 B, 2 C)."""
    if torch.compiler.is_compiling():
        re, im = x.unbind(1)
        rows = torch.stack((torch.stack((re, im), 2), torch.stack((im, -re), 2)), 1)
        return rows.flatten(3).flatten(1, 2)
    f, _, batch, channels = x.shape
    rows = x.new_empty(f, 2, batch, 2, channels)
    rows[:, :, :, 0] = x
    rows[:, 0, :, 1] = x[:, 1]
    torch.neg(x[:, 0], out=rows[:, 1, :, 1])
    return rows.view(f, 2 * batch, 2 * channels)


def as_rows_transposed(rows: Tensor, out: Tensor) -> Tensor:
    """The gradient of `as_rows`: (F, 2 B, 2 C) -> `out` (F, 2, B, C)."""
    f, double, width = rows.shape
    parts = rows.view(f, 2, double // 2, 2, width // 2)
    torch.sub(parts[:, 0, :, 0], parts[:, 1, :, 1], out=out[:, 0])
    torch.add(parts[:, 0, :, 1], parts[:, 1, :, 0], out=out[:, 1])
    return out


@dataclass(frozen=True)
class _Mix:
    """`mix`, for as many frequencies at a time as make a spectrum of `at_once` numbers."""

    at_once: int

    def product(self, x: Tensor, basis: Tensor, weight: Tensor) -> Tensor:
        y = x.new_empty(*x.shape[:3], weight.shape[3])
        for some, own in self._chunks(basis, weight):
            torch.bmm(as_rows(x[own]), write_out(basis[some], weight), out=y[own].flatten(1, 2))
        return y

    def gradient(
        self, x: Tensor, basis: Tensor, weight: Tensor, grad: Tensor
    ) -> tuple[Tensor, ...]:
        grad = grad.contiguous()
        grad_x, grad_basis = torch.empty_like(x), torch.empty_like(basis)
        grad_weight = torch.zeros_like(weight).flatten(1)
        _, groups, channels, out = weight.shape
        for some, own in self._chunks(basis, weight):
            k, g = write_out(basis[some], weight), grad[own].flatten(1, 2)  # (f G, 2 B, O)
            as_rows_transposed(torch.bmm(g, k.transpose(1, 2)), out=grad_x[own])
            grad_k = torch.bmm(as_rows(x[own]).transpose(1, 2), g)  # (f G, 2 C, O)
            if groups > 1:
                grad_k = grad_k.view(-1, groups, 2, channels * out).transpose(1, 2)
            grad_k = grad_k.reshape(-1, groups * channels * out)  # (2 f, G C O)
            grad_weight.addmm_(basis[some].flatten(0, 1).T, grad_k)
            torch.mm(grad_k, weight.flatten(1).T, out=grad_basis[some].flatten(0, 1))
        return grad_x, grad_basis, grad_weight.view_as(weight)

    def _chunks(self, basis: Tensor, weight: Tensor) -> list[tuple[slice, slice]]:
        """Runs of frequencies, and where their groups are."""
        runs = multilinear.runs(basis.shape[0], 2 * weight[0].numel(), self.at_once)
        groups = weight.shape[1]
        return [(some, slice(some.start * groups, some.stop * groups)) for some in runs]
