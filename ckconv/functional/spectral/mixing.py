"""Mixing channels frequency by frequency, with a factored kernel's spectrum.

With a kernel of C x O channels that mixes H functions, the spectrum at each of F frequencies is
a C x O matrix, itself a mix of H numbers. Frequencies go in front: one matrix product mixes the
H spectra, one batched product of complex matrices per frequency applies the result to the input's
spectra, conjugated, which makes it a cross-correlation: Y = X conj(K). The kernel's spectrum, by
far the largest array, exists for a chunk of frequencies at a time. Groups of channels are further
matrices beside the frequencies. Complex numbers are seen as pairs of real ones, the last axis,
where they are handed on.
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

# Numbers of the kernel's spectrum that exist at once; on a CPU, for each thread, where they should
# stay in the cache between being made and being used. On a GPU a chunk should fill the device.
_CHUNK = {"cpu": 1 << 19, "cuda": 1 << 26}


def mix(
    x: Float[Tensor, "FG B C 2"], basis: Float[Tensor, "F H 2"], weight: Float[Tensor, "H G C O"]
) -> Float[Tensor, "FG B O 2"]:
    """Mix H spectra into a kernel's and apply it.

    x (F G, B, C, 2), basis (F, H, 2), weight (H, G, C, O) -> y (F G, B, O, 2). The kernel's
    spectrum is made again in the backward pass rather than kept.
    """
    if torch.compiler.is_compiling():  # the compiler knows no functions with a derivative forward
        return apply_spectrum(x, write_out(basis, weight))
    return multilinear.apply(_Mix(numbers_at_once(x.device)), x, basis, weight)


def numbers_at_once(device: torch.device) -> int:
    """Numbers of a spectrum that should exist at once."""
    return current().chunk or multilinear.run_size(_CHUNK, device)


def write_out(
    basis: Float[Tensor, "F H 2"], weight: Float[Tensor, "H G C O"]
) -> Float[Tensor, "FG C O 2"]:
    """The conjugate of the kernel's spectrum: (F G, C, O, 2)."""
    if torch.compiler.is_compiling():  # it writes no code for complex numbers
        re, im = (part @ weight.flatten(1) for part in basis.unbind(-1))  # (F, G C O)
        return torch.stack((re, -im), -1).view(-1, *weight.shape[2:], 2)
    return torch.view_as_real(Mixture(_conjugate(basis), weight).whole())


def apply_spectrum(
    x: Float[Tensor, "FG B C 2"], spectrum: Float[Tensor, "F*G C O 2"]
) -> Float[Tensor, "FG B O 2"]:
    """Apply what `write_out` gives, (F G, C, O, 2), to x (F G, B, C, 2): (F G, B, O, 2)."""
    if torch.compiler.is_compiling():
        (re, im), (k_re, k_im) = x.unbind(-1), spectrum.unbind(-1)
        return torch.stack((re @ k_re - im @ k_im, re @ k_im + im @ k_re), -1)
    y = torch.bmm(torch.view_as_complex(x), torch.view_as_complex(spectrum))
    return torch.view_as_real(y)


def _conjugate(basis: Tensor) -> Tensor:
    """(F, H, 2) as complex numbers, conjugated: (F, H)."""
    return torch.view_as_complex(basis.contiguous()).conj_physical()


class Mixture:
    """A kernel's spectrum as a mix of its functions': some of its frequencies at a time.

    It is written by a product of real matrices, as the weights are real.

    Args:
        basis: the functions' spectra, complex, (F, H).
        weight: real numbers (H, ..., C, O).
    """

    def __init__(self, basis: Tensor, weight: Tensor) -> None:
        self.rows = torch.stack((basis.real, basis.imag), 1)  # (F, 2, H)
        self.weight, self.shape = weight.flatten(1), weight.shape[-2:]

    def whole(self) -> Tensor:
        """The spectrum at all frequencies, (F ..., C, O): little but itself exists meanwhile."""
        count, width = self.rows.shape[0], self.weight.shape[1]
        out = torch.empty(count, width, dtype=self.rows.dtype.to_complex(), device=self.rows.device)
        for some in multilinear.runs(count, 2 * width, numbers_at_once(out.device)):
            out[some] = self.spectrum(some).view(-1, width)
        return out.view(-1, *self.shape)

    def spectrum(self, some: slice) -> Tensor:
        """The spectrum, complex: (f ..., C, O)."""
        parts = self.rows[some].flatten(0, 1) @ self.weight
        return torch.complex(*parts.unflatten(0, (-1, 2)).unbind(1)).view(-1, *self.shape)

    def room(self) -> tuple[Tensor, Tensor]:
        """Where `transposed` puts the gradients of the functions' spectra and the weight."""
        return torch.empty_like(self.rows), torch.zeros_like(self.weight)

    def transposed(self, some: slice, grad: Tensor, room: tuple[Tensor, Tensor]) -> None:
        """The gradients of the weight and of the basis, from that of the spectrum (f ..., C, O).

        All but the weight's, which are real, conjugated: those of the conjugate basis.
        """
        rows, weight = room
        parts = torch.view_as_real(grad).view(-1, self.weight.shape[1], 2)
        parts = parts.transpose(1, 2).contiguous().flatten(0, 1)  # (2 f, ... C O)
        torch.mm(parts, self.weight.T, out=rows[some].flatten(0, 1))
        basis = self.rows[some].clone()
        basis[:, 1].neg_()
        weight.addmm_(basis.flatten(0, 1).T, parts)


@dataclass(frozen=True)
class _Mix:
    """`mix`, for as many frequencies at a time as make a spectrum of `at_once` numbers."""

    at_once: int

    def product(self, x: Tensor, basis: Tensor, weight: Tensor) -> Tensor:
        y = x.new_empty(*x.shape[:2], weight.shape[3], 2)
        x_hat, y_hat = torch.view_as_complex(x.contiguous()), torch.view_as_complex(y)
        kernel = Mixture(_conjugate(basis), weight)
        for some, own in self._chunks(basis, weight):
            torch.bmm(x_hat[own], kernel.spectrum(some), out=y_hat[own])
        return y

    def gradient(
        self, x: Tensor, basis: Tensor, weight: Tensor, grad: Tensor
    ) -> tuple[Tensor, ...]:
        grad_x = torch.empty_like(x)
        x_hat, y_hat = (torch.view_as_complex(t.contiguous()) for t in (x, grad))
        grad_x_hat, kernel = torch.view_as_complex(grad_x), Mixture(_conjugate(basis), weight)
        room = kernel.room()
        for some, own in self._chunks(basis, weight):
            # All gradients are made conjugated, so that no large array is but the first and last.
            k, g = kernel.spectrum(some), y_hat[own].conj_physical()  # (f G, B, O)
            torch.bmm(g, k.transpose(1, 2), out=grad_x_hat[own])
            kernel.transposed(some, torch.bmm(x_hat[own].transpose(1, 2), g), room)
            grad_x_hat[own].conj_physical_()
        grad_basis, grad_weight = room
        return grad_x, grad_basis.transpose(1, 2), grad_weight.view_as(weight)

    def _chunks(self, basis: Tensor, weight: Tensor) -> list[tuple[slice, slice]]:
        """Runs of frequencies, and where their groups are."""
        runs = multilinear.runs(basis.shape[0], 2 * weight[0].numel(), self.at_once)
        groups = weight.shape[1]
        return [(some, slice(some.start * groups, some.stop * groups)) for some in runs]
