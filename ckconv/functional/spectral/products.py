"""Convolution of images by products of small matrices alone, transforms included.

For a run of frequencies at a time, the input's second axis is transformed, the kernel's functions
are mixed, the two are multiplied, and the output's second axis is transformed back. What lies
between stays in the processor's cache; neither spectrum exists whole.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ckconv.functional.kernel import FactoredKernel
from ckconv.functional.spectral import multilinear
from ckconv.functional.spectral.mixing import Mixture, numbers_at_once
from ckconv.functional.spectral.tiles import Tiles, first_matrix, second_matrix
from ckconv.functional.spectral.transform import at_least_float


def by_products(
    x: Tensor, kernel: FactoredKernel, tiles: Tiles, dilation: tuple[int, ...]
) -> Tensor:
    """Cross-correlate x (B, C, H, W) with a kernel (O, C, *k): (B, O, *out), channels-last."""
    basis, weight = at_least_float(kernel.basis), at_least_float(kernel.weight)
    operation = _Products(tiles, dilation, numbers_at_once(x.device))
    if kernel.spectra is None:
        return multilinear.apply(operation, x, basis, weight)
    spectrum = kernel.spectra.get(
        (tiles, dilation),
        lambda: torch.view_as_real(operation.kernel(basis, weight).whole()),
    )
    k_hat = torch.view_as_complex(spectrum).unflatten(0, (tiles.half, -1))
    return operation.applied(x, weight, lambda ks: k_hat[ks].flatten(0, 1))


@dataclass(frozen=True)
class _Products:
    """The convolution of x (B, C, H, W) with the mix of basis (H, *k) by weight (O, C, H)."""

    tiles: Tiles
    dilation: tuple[int, ...]
    at_once: int

    def product(self, x: Tensor, basis: Tensor, weight: Tensor) -> Tensor:
        kernel = self.kernel(basis, weight)
        return self.applied(x, weight, lambda ks: kernel.spectrum(self._frequencies(ks)))

    def applied(self, x: Tensor, weight: Tensor, k_hat: Callable[[slice], Tensor]) -> Tensor:
        """The convolution with the kernel whose spectrum `k_hat` gives for some frequencies.

        It is given conjugated, (f, C, O).
        """
        tiles = self.tiles
        inputs, outputs = _Side.of_inputs(tiles, x), _Side.of_outputs(tiles, x)
        rows = inputs.first(tiles.lay_out(x))  # (B, J, K1, 2, w, C)
        spectra = outputs.empty(x.shape[0], weight.shape[0], x)  # (B, J, K1, 2, w, O)
        for ks in self._chunks(rows, weight):
            y_hat = torch.bmm(inputs.second(rows, ks), k_hat(ks))  # (f, B J, O)
            outputs.second_transposed(y_hat, spectra, ks)
        return tiles.collect(outputs.first_transposed(spectra))

    def gradient(
        self, x: Tensor, basis: Tensor, weight: Tensor, grad: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """All of it conjugated: so is the kernel's spectrum, and no array has to be."""
        tiles = self.tiles
        inputs, conjugate = _Side.of_inputs(tiles, x), _Side.of_inputs(tiles, x, conjugate=True)
        outputs = _Side.of_outputs(tiles, x, conjugate=True)
        kernel = self.kernel(basis, weight)
        room = kernel.room()
        x_rows = inputs.first(tiles.lay_out(x))
        grad_rows = outputs.first(tiles.collect_transposed(grad))
        grad_x = torch.empty_like(x_rows)
        for ks in self._chunks(x_rows, weight):
            some, own = self._frequencies(ks), outputs.second(grad_rows, ks)  # (f, B J, O)
            grad_k = torch.bmm(inputs.second(x_rows, ks).transpose(1, 2), own)  # (f, C, O)
            own = torch.bmm(own, kernel.spectrum(some).transpose(1, 2))  # (f, B J, C)
            conjugate.second_transposed(own, grad_x, ks)
            kernel.transposed(some, grad_k, room)
        grad_x = tiles.lay_out_transposed(conjugate.first_transposed(grad_x), x.shape[2:])
        grad_functions, grad_mixed = room
        grad_weight = grad_mixed.view(-1, *weight.shape[1::-1]).permute(2, 1, 0)
        return grad_x, self._functions_transposed(grad_functions, basis), grad_weight

    def kernel(self, basis: Tensor, weight: Tensor) -> Mixture:
        """The kernel's spectrum, conjugated, from basis (H, *k) and weight (O, C, H)."""
        side = _Side.of_kernel(self.tiles, self.dilation, basis, conjugate=True)
        rows = side.first(basis.movedim(0, -1)[None].contiguous())
        functions = side.second(rows, slice(None)).flatten(0, 1)  # (K1 N2, H)
        return Mixture(functions, weight.permute(2, 1, 0))

    def _frequencies(self, ks: slice) -> slice:
        """All frequencies of the second axis at some of the first."""
        each = self.tiles.lengths[1]
        return slice(ks.start * each, ks.stop * each)

    def _functions_transposed(self, grad: Tensor, basis: Tensor) -> Tensor:
        side = _Side.of_kernel(self.tiles, self.dilation, basis)
        rows = side.empty(1, basis.shape[0], basis)
        grad = torch.complex(*grad.unbind(1))  # from (K1 N2, 2, H)
        side.second_transposed(grad, rows, slice(None))
        return side.first_transposed(rows)[0].movedim(-1, 0)

    def _chunks(self, rows: Tensor, weight: Tensor) -> list[slice]:
        """Runs of frequencies of the first axis."""
        out, channels = weight.shape[:2]
        each = max(channels * out, rows.shape[0] * rows.shape[1] * max(channels, out))
        return multilinear.runs(self.tiles.half, 2 * self.tiles.lengths[1] * each, self.at_once)


@dataclass(frozen=True)
class _Side:
    """The transforms of one of the arrays that take part: inputs, outputs, or the kernel.

    Those of the outputs are the gradient of their inverse transform.
    """

    tiles: Tiles
    first_matrix: Tensor
    second_matrix: Tensor
    taken: tuple[int, int]  # samples of a tile per axis
    whole: tuple[int, int]  # samples per axis

    @classmethod
    def of_inputs(cls, tiles: Tiles, like: Tensor, conjugate: bool = False) -> _Side:
        positions = [range(n) for n in tiles.taken]
        return cls._make(tiles, positions, tiles.covered, like, conjugate)

    @classmethod
    def of_outputs(cls, tiles: Tiles, like: Tensor, conjugate: bool = False) -> _Side:
        positions = [range(n) for n in tiles.step]
        return cls._make(tiles, positions, tiles.given, like, conjugate, inverse=True)

    @classmethod
    def of_kernel(
        cls, tiles: Tiles, dilation: tuple[int, ...], basis: Tensor, conjugate: bool = False
    ) -> _Side:
        size = tuple(basis.shape[1:])
        positions = [range(lag, lag + d * k, d) for k, lag, d in zip(size, tiles.lags, dilation)]
        return cls._make(tiles.single(), positions, size, basis, conjugate)

    @classmethod
    def _make(
        cls,
        tiles: Tiles,
        positions: Sequence[range],
        whole: tuple[int, int],
        like: Tensor,
        conjugate: bool,
        inverse: bool = False,
    ) -> _Side:
        a, b = positions
        how = conjugate, like.dtype, like.device
        first = first_matrix(tiles.lengths, a, inverse, *how)
        second = second_matrix(tiles.lengths, b, *how)
        return cls(tiles, first, second, (len(a), len(b)), whole)

    def empty(self, batch: int, channels: int, like: Tensor) -> Tensor:
        """Room for what `first` gives."""
        count = self.tiles.count[0] * self.tiles.count[1]
        return like.new_empty(batch, count, self.tiles.half, 2, self.taken[1], channels)

    def first(self, x: Tensor) -> Tensor:
        """(B, *whole, C) -> (B, J, K1, 2, w, C)."""
        return self.tiles.first(x, self.first_matrix, self.taken)

    def first_transposed(self, rows: Tensor) -> Tensor:
        """(B, J, K1, 2, w, C) -> (B, *whole, C)."""
        return self.tiles.first_transposed(rows, self.first_matrix, self.taken, self.whole)

    def second(self, rows: Tensor, ks: slice) -> Tensor:
        """Transform the second axis at some frequencies of the first: (f, B J, C), complex."""
        chosen = rows.flatten(0, 1)[:, ks].permute(2, 1, 3, 0, 4)  # (2, k, w, B J, C)
        turned = self.second_matrix.new_empty(chosen.shape[1:])
        torch.complex(*chosen, out=turned)
        matrices = self.second_matrix.expand(len(turned), -1, -1)
        return torch.bmm(matrices, turned.flatten(2)).view(-1, *turned.shape[2:])

    def second_transposed(self, spectrum: Tensor, rows: Tensor, ks: slice) -> None:
        """The gradient of `second`, written into `rows` (B, J, K1, 2, w, C)."""
        place = rows.flatten(0, 1)[:, ks]  # (B J, k, 2, w, C)
        batch, count, _, width, channels = place.shape
        matrices = self.second_matrix.mH.resolve_conj().expand(count, -1, -1)
        back = torch.bmm(matrices, spectrum.view(count, -1, batch * channels))
        parts = torch.view_as_real(back).view(count, width, batch, channels, 2)
        place.copy_(parts.permute(2, 0, 4, 1, 3))
