"""Discrete Fourier transforms of images as matrix products, over tiles.

A transform of a few dozen points is a small matrix; a product with it runs at the processor's
full speed, reads images channels-last as they are, writes the order that mixing channels wants,
and has padding and cropping in it (as FlashFFTConv, Fu et al., 2023, has it on GPUs).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from ckconv.functional.spectral.frames import remembered


@dataclass(frozen=True)
class Tiles:
    """Tiles of images (B, C, H, W), transformed over both axes.

    Several tiles along an axis overlap and give `step` outputs each (overlap-save). Of the N1
    frequencies along the first axis, those of a real signal's half are there: K1.

    Args:
        lengths: of the transforms, N1 and N2.
        count: tiles per axis, J in all.
        step: outputs of a tile.
        taken: inputs of a tile.
        before: zeros in front of the image.
        lags: where the kernel's first sample stands.
        out: outputs per axis.
        wrapped: the axes whose padding is circular.
    """

    lengths: tuple[int, int]
    count: tuple[int, int]
    step: tuple[int, int]
    taken: tuple[int, int]
    before: tuple[int, int]
    lags: tuple[int, int]
    out: tuple[int, int]
    wrapped: tuple[int, ...] = ()

    @property
    def half(self) -> int:
        """Frequencies along the first axis, K1."""
        return self.lengths[0] // 2 + 1

    @property
    def covered(self) -> tuple[int, int]:
        """Inputs per axis, padding included, that the tiles take together."""
        return tuple(s * (j - 1) + t for s, j, t in zip(self.step, self.count, self.taken))

    @property
    def given(self) -> tuple[int, int]:
        """Outputs per axis that the tiles give together."""
        return tuple(s * j for s, j in zip(self.step, self.count))

    def single(self) -> Tiles:
        """The same transforms, of one tile."""
        return replace(self, count=(1, 1))

    # ----- inputs and outputs ---------------------------------------------------------------------

    def lay_out(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, *covered, C), padded with zeros."""
        return _padded(x, self.covered, self.before)

    def lay_out_transposed(self, grad: Tensor, size: Sequence[int]) -> Tensor:
        """The gradient of `lay_out`: (B, *covered, C) -> (B, C, *size)."""
        inside = tuple(slice(a, a + n) for a, n in zip(self.before, size))
        return grad[(slice(None), *inside)].movedim(-1, 1)

    def collect(self, y: Tensor) -> Tensor:
        """(B, *given, O) -> (B, O, *out)."""
        return y[:, : self.out[0], : self.out[1]].movedim(-1, 1)

    def collect_transposed(self, grad: Tensor) -> Tensor:
        """The gradient of `collect`: (B, O, *out) -> (B, *given, O)."""
        return _padded(grad, self.given, (0, 0))

    # ----- transforms of the first axis -----------------------------------------------------------

    def first(self, x: Tensor, matrix: Tensor, taken: tuple[int, int]) -> Tensor:
        """Transform every tile's first axis: (B, *whole, C) -> (B, J, K1, 2, w, C).

        Real and imaginary parts, by a matrix (2 K1, rows). Tiles have `taken` rows and columns.
        """
        batch, channels = x.shape[0], x.shape[-1]
        shape = batch, math.prod(self.count), matrix.shape[0] // 2, 2, taken[1], channels
        out = x.new_empty(shape)
        matrices = matrix.expand(batch, -1, -1)
        for tile, part in enumerate(self._parts(x, taken)):
            torch.bmm(matrices, part, out=out[:, tile].flatten(1, 2).flatten(2))
        return out

    def first_transposed(
        self, rows: Tensor, matrix: Tensor, taken: tuple[int, int], whole: tuple[int, int]
    ) -> Tensor:
        """The gradient of `first`, overlaps added: (B, J, K1, 2, w, C) -> (B, *whole, C)."""
        batch, channels = rows.shape[0], rows.shape[-1]
        matrices = matrix.T.expand(batch, -1, -1)
        overlaps = any(j > 1 and t > s for j, t, s in zip(self.count, taken, self.step))
        make = rows.new_zeros if overlaps else rows.new_empty
        x = make(batch, *whole, channels)
        for tile, part in enumerate(self._parts(x, taken)):
            own = rows[:, tile].flatten(1, 2).flatten(2)
            torch.baddbmm(part, matrices, own, beta=1 if overlaps else 0, out=part)
        return x

    def _parts(self, x: Tensor, taken: tuple[int, int]) -> list[Tensor]:
        """Views of the tiles in (B, *whole, C), each (B, rows, columns times C)."""
        tops, lefts = (range(0, j * s, s) for j, s in zip(self.count, self.step))
        return [x[:, a : a + taken[0], b : b + taken[1]].flatten(2) for a in tops for b in lefts]


def _padded(x: Tensor, whole: tuple[int, int], before: tuple[int, int]) -> Tensor:
    """(B, C, H, W) -> (B, *whole, C)."""
    sides = [0, 0]
    for n, total, first in zip(x.shape[:1:-1], whole[::-1], before[::-1]):
        sides += [first, total - n - first]
    x = x.movedim(1, -1)
    return (F.pad(x, sides) if any(sides) else x).contiguous()


@remembered
def first_matrix(
    lengths: tuple[int, int],
    positions: range,
    inverse: bool,
    conjugate: bool,
    dtype: torch.dtype,
    device: torch.device,
) -> Tensor:
    """Cosines and minus sines of the first axis at `positions`: (2 K1, positions).

    With `conjugate` sines. With `inverse` times the weights of the inverse transform over both
    axes, for whose gradient it stands.
    """
    n = lengths[0]
    turns = _turns(torch.arange(n // 2 + 1), positions, n, conjugate)
    pair = torch.view_as_real(turns).transpose(1, 2)  # (K1, 2, positions)
    if inverse:
        share = torch.full((n // 2 + 1, 1, 1), 2 / math.prod(lengths), dtype=torch.float64)
        share[0] /= 2  # this one and the next have no mirror image
        if n % 2 == 0:
            share[-1] /= 2
        pair = pair * share
    return pair.flatten(0, 1).to(device, dtype).contiguous()


@remembered
def second_matrix(
    lengths: tuple[int, int],
    positions: range,
    conjugate: bool,
    dtype: torch.dtype,
    device: torch.device,
) -> Tensor:
    """The complex transform of the second axis at `positions`: (N2, positions)."""
    turns = _turns(torch.arange(lengths[1]), positions, lengths[1], conjugate)
    return turns.to(device, dtype.to_complex())


def _turns(frequencies: Tensor, positions: range, n: int, conjugate: bool) -> Tensor:
    """exp(-2 pi i f t / n), or its conjugate: (frequencies, positions)."""
    turns = frequencies[:, None] * torch.tensor(positions) % n
    angle = turns.double() * ((2 if conjugate else -2) * math.pi / n)
    return torch.polar(torch.ones_like(angle), angle)
