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
from ckconv.functional.spectral.mixing import as_rows, as_rows_transposed, numbers_at_once
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
        (tiles, dilation), lambda: _write_out(operation.functions(basis), _mixing(weight), weight)
    )
    return operation.applied(x, weight, lambda ks: spectrum.unflatten(0, (tiles.half, -1))[ks])


@dataclass(frozen=True)
class _Products:
    """The convolution of x (B, C, H, W) with the mix of basis (H, *k) by weight (O, C, H)."""

    tiles: Tiles
    dilation: tuple[int, ...]
    at_once: int

    def product(self, x: Tensor, basis: Tensor, weight: Tensor) -> Tensor:
        functions, mixed = self.functions(basis), _mixing(weight)
        return self.applied(x, weight, lambda ks: _write_out(functions[ks], mixed, weight))

    def applied(self, x: Tensor, weight: Tensor, k_hat: Callable[[slice], Tensor]) -> Tensor:
        """The convolution with the kernel whose spectrum `k_hat` gives for some frequencies."""
        tiles = self.tiles
        inputs, outputs = _Side.of_inputs(tiles, x), _Side.of_outputs(tiles, x)
        rows = inputs.first(tiles.lay_out(x))  # (B, J, K1, 2, w, C)
        spectra = outputs.empty(x.shape[0], weight.shape[0], x)  # (B, J, K1, 2, w, O)
        for ks in self._chunks(rows, weight):
            k = k_hat(ks).view(-1, 2 * weight.shape[1], weight.shape[0])  # (f, 2 C, O)
            y_hat = torch.bmm(as_rows(inputs.second(rows, ks)), k)  # (f, 2 B J, O)
            outputs.second_transposed(y_hat, spectra, ks)
        return tiles.collect(outputs.first_transposed(spectra))

    def gradient(
        self, x: Tensor, basis: Tensor, weight: Tensor, grad: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        tiles = self.tiles
        inputs, outputs = _Side.of_inputs(tiles, x), _Side.of_outputs(tiles, x)
        functions, mixed = self.functions(basis), _mixing(weight)
        x_rows = inputs.first(tiles.lay_out(x))
        grad_rows = outputs.first(tiles.collect_transposed(grad))
        grad_x, grad_functions = torch.empty_like(x_rows), torch.empty_like(functions)
        grad_mixed = torch.zeros_like(mixed)
        for ks in self._chunks(x_rows, weight):
            k = _write_out(functions[ks], mixed, weight)  # (f, 2 C, O)
            own = outputs.second(grad_rows, ks).flatten(1, 2)  # (f, 2 B J, O)
            x_hat = inputs.second(x_rows, ks)  # (f, 2, B J, C)
            grad_k = torch.bmm(as_rows(x_hat).transpose(1, 2), own)
            rows = torch.bmm(own, k.transpose(1, 2))  # (f, 2 B J, 2 C)
            inputs.second_transposed(as_rows_transposed(rows, out=x_hat), grad_x, ks)
            grad_k = grad_k.view(-1, mixed.shape[1])  # (2 f, C O)
            grad_mixed.addmm_(functions[ks].flatten(0, 1).T, grad_k)
            torch.mm(grad_k, mixed.T, out=grad_functions[ks].flatten(0, 1))
        grad_x = tiles.lay_out_transposed(inputs.first_transposed(grad_x), x.shape[2:])
        grad_weight = grad_mixed.view(-1, *weight.shape[1::-1]).permute(2, 1, 0)
        return grad_x, self._functions_transposed(grad_functions, basis), grad_weight

    def functions(self, basis: Tensor) -> Tensor:
        """The functions' spectra: (H, *k) -> (K1, 2 N2, H)."""
        side = _Side.of_kernel(self.tiles, self.dilation, basis)
        rows = side.first(basis.movedim(0, -1)[None].contiguous())
        return side.second(rows, slice(None)).view(rows.shape[2], -1, basis.shape[0])

    def _functions_transposed(self, grad: Tensor, basis: Tensor) -> Tensor:
        side = _Side.of_kernel(self.tiles, self.dilation, basis)
        rows = side.empty(1, basis.shape[0], basis)
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
    def of_inputs(cls, tiles: Tiles, like: Tensor) -> _Side:
        positions = [range(n) for n in tiles.taken]
        return cls._make(tiles, positions, tiles.covered, like)

    @classmethod
    def of_outputs(cls, tiles: Tiles, like: Tensor) -> _Side:
        positions = [range(n) for n in tiles.step]
        return cls._make(tiles, positions, tiles.given, like, inverse=True)

    @classmethod
    def of_kernel(cls, tiles: Tiles, dilation: tuple[int, ...], basis: Tensor) -> _Side:
        size = tuple(basis.shape[1:])
        positions = [range(lag, lag + d * k, d) for k, lag, d in zip(size, tiles.lags, dilation)]
        return cls._make(tiles.single(), positions, size, basis)

    @classmethod
    def _make(
        cls,
        tiles: Tiles,
        positions: Sequence[range],
        whole: tuple[int, int],
        like: Tensor,
        inverse: bool = False,
    ) -> _Side:
        a, b = positions
        first = first_matrix(tiles.lengths, a, inverse, like.dtype, like.device)
        second = second_matrix(tiles.lengths, b, like.dtype, like.device)
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
        """Transform the second axis at some frequencies of the first: (f, 2, B J, C)."""
        chosen = rows.flatten(0, 1)[:, ks].permute(1, 2, 3, 0, 4).flatten(1, 2)  # (k, 2 w, B J, C)
        matrices = self.second_matrix.expand(len(chosen), -1, -1)
        return torch.bmm(matrices, chosen.flatten(2)).view(-1, 2, *chosen.shape[2:])

    def second_transposed(self, spectrum: Tensor, rows: Tensor, ks: slice) -> None:
        """The gradient of `second`, written into `rows` (B, J, K1, 2, w, C)."""
        place = rows.flatten(0, 1)[:, ks]  # (B J, k, 2, w, C)
        batch, count, _, width, channels = place.shape
        matrices = self.second_matrix.T.expand(count, -1, -1)
        back = torch.bmm(matrices, spectrum.view(count, -1, batch * channels))
        place.copy_(back.view(count, 2, width, batch, channels).permute(3, 0, 1, 2, 4))


def _mixing(weight: Tensor) -> Tensor:
    """The weight (O, C, H) as (H, C O)."""
    return weight.permute(2, 1, 0).flatten(1).contiguous()


def _write_out(functions: Tensor, mixed: Tensor, weight: Tensor) -> Tensor:
    """The kernel's spectrum at some frequencies, real above imaginary parts: (f, 2 C, O)."""
    out, channels = weight.shape[:2]
    return (functions.flatten(0, 1) @ mixed).view(-1, 2 * channels, out)
