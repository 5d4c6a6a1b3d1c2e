"""Real Fourier transforms, and how inputs and kernels are laid out for them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ckconv.functional.spectral.frames import Frames

if TYPE_CHECKING:
    from jaxtyping import Float


@dataclass(frozen=True)
class Transform:
    """Real Fourier transforms over the last axes, of `lengths`, with the frequencies in front.

    A spectrum is a matrix (F, R) of complex numbers, the layout that mixing channels wants, seen as
    real ones (F, R, 2).

    Args:
        lengths: samples per axis.
        scaled: divided by their number.
        ends: what the frequencies without a mirror image are multiplied by.
        inside: and the others.
    """

    lengths: tuple[int, ...]
    scaled: bool = False
    ends: float = 1.0
    inside: float = 1.0

    def forward(self, x: Tensor) -> Tensor:
        """(..., *lengths) -> (F, R, 2)."""
        hat = torch.fft.rfftn(x.contiguous(), dim=self._axes)
        numbers = torch.view_as_real(hat).flatten(-len(self.lengths) - 1, -2)  # (..., F, 2)
        numbers = _transposed(numbers.flatten(0, -3))
        if self.is_even and not self.scaled:
            return numbers
        # PyTorch divides a real transform in a pass of its own, which takes longer than this one.
        divided_by = math.prod(self.lengths) if self.scaled else 1
        return numbers.mul_(self._shares(numbers)[:, None, None] / divided_by)

    def inverse(self, numbers: Tensor) -> Tensor:
        """(F, R, 2) -> (R, *lengths)."""
        flat = _transposed(numbers)
        if not self.is_even:
            flat = flat.mul_(self._shares(numbers)[:, None])
        freq = *self.lengths[:-1], self.lengths[-1] // 2 + 1
        hat = torch.view_as_complex(flat.unflatten(1, freq))
        norm = "backward" if self.scaled else "forward"
        return torch.fft.irfftn(hat, s=self.lengths, dim=self._axes, norm=norm)

    def adjoint(self, is_inverse: bool) -> Transform:
        """Whose `forward` is the gradient of this `inverse`, and the other way round."""
        # A number inside the spectrum of a real signal stands for its mirror image too.
        return replace(self, inside=self.inside * (2.0 if is_inverse else 0.5))

    @property
    def is_even(self) -> bool:
        """Whether all frequencies count as they are."""
        return self.ends == self.inside == 1.0

    @property
    def _axes(self) -> tuple[int, ...]:
        return tuple(range(-len(self.lengths), 0))

    def _shares(self, like: Tensor) -> Tensor:
        """The factors of a spectrum's numbers: (F,)."""
        n = self.lengths[-1]
        shares = like.new_full((n // 2 + 1,), self.inside)
        shares[[0] if n % 2 else [0, n // 2]] = self.ends
        return shares.repeat(math.prod(self.lengths[:-1]))


class _Spectra(torch.autograd.Function):
    """`Transform.forward`, or with `is_inverse` its inverse, whose gradients are each other."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, transform: Transform, is_inverse: bool) -> Tensor:
        return transform.inverse(x) if is_inverse else transform.forward(x)

    @staticmethod
    def setup_context(ctx, inputs: tuple, output: Tensor) -> None:  # noqa: ANN001
        x, ctx.transform, ctx.is_inverse = inputs
        ctx.shape = x.shape

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor, None, None]:  # noqa: ANN001
        adjoint = ctx.transform.adjoint(ctx.is_inverse)
        return _Spectra.apply(grad, adjoint, not ctx.is_inverse).view(ctx.shape), None, None

    @staticmethod
    def jvp(ctx, tangent: Tensor, *_: None) -> Tensor:  # noqa: ANN001
        return _Spectra.apply(tangent, ctx.transform, ctx.is_inverse)


def spectrum(x: Float[Tensor, "*rows_lengths"], lengths: tuple[int, ...]) -> Float[Tensor, "F R 2"]:
    """The spectra of real arrays (..., *lengths), over all axes of `lengths`, as (F, R, 2)."""
    if torch.compiler.is_compiling():  # it knows no functions with a forward derivative
        return Transform(lengths).forward(x)
    return _Spectra.apply(x, Transform(lengths), False)


def from_spectrum(
    numbers: Float[Tensor, "F R 2"], lengths: tuple[int, ...]
) -> Float[Tensor, " R *lengths"]:
    """The real arrays (R, *lengths) of spectra (F, R, 2)."""
    if torch.compiler.is_compiling():
        return Transform(lengths, scaled=True).inverse(numbers)
    return _Spectra.apply(numbers, Transform(lengths, scaled=True), True)


def _transposed(numbers: Tensor) -> Tensor:
    """A copy (N, M, 2) of complex numbers (M, N, 2), transposed in memory."""
    if torch.compiler.is_compiling():  # it writes no code for complex numbers
        return numbers.transpose(0, 1).contiguous()
    matrix = torch.view_as_complex(numbers.contiguous())
    # A pair moves at once. As two axes, PyTorch would copy them through a buffer, on one thread.
    turned = matrix.T[..., None].clone(memory_format=torch.contiguous_format)
    return torch.view_as_real(turned[..., 0])


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
