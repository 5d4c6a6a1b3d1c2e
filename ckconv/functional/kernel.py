"""A kernel kept as a mix of a few functions."""

from __future__ import annotations

import torch
from torch import Tensor


class FactoredKernel:
    """A kernel that is linear in a few functions: `kernel[o, c] = sum_h weight[o, c, h] basis[h]`.

    Every kernel generator ends in a linear map, so this is the form in which it gives a kernel:
    tens of functions instead of out x in, nine hundred to a few thousand. The spectral
    convolution transforms the functions and mixes their spectra.

    Args:
        weight: (O, C, H).
        basis: (H, *k), mask and scaling included.
    """

    def __init__(self, weight: Tensor, basis: Tensor) -> None:
        self.weight, self.basis = weight, basis
        self._dense: Tensor | None = None
        self.spectra: dict[tuple[int, ...], Tensor] | None = None  # filled in where it is kept

    @property
    def size(self) -> torch.Size:
        """The kernel's size per axis, k."""
        return self.basis.shape[1:]

    @property
    def shape(self) -> torch.Size:
        """The shape of the kernel written out, (O, C, *k)."""
        return self.weight.shape[:2] + self.basis.shape[1:]

    @property
    def ndim(self) -> int:
        return self.basis.ndim + 1

    def dense(self) -> Tensor:
        """The kernel written out: (O, C, *k). Computed once."""
        if self._dense is None:
            out, channels, functions = self.weight.shape
            mixed = self.weight.reshape(-1, functions) @ self.basis.flatten(1)
            self._dense = mixed.view(out, channels, *self.size)
        return self._dense

    def norm(self) -> Tensor:
        """The L2 norm of the kernel, without writing it out where that has not been done yet."""
        if self._dense is not None:
            return torch.linalg.vector_norm(self._dense)
        flat = self.basis.flatten(1).double()
        weight = self.weight.flatten(0, 1).double()
        squared = ((weight @ (flat @ flat.T)) * weight).sum()
        return squared.clamp(min=1e-30).sqrt().to(self.weight.dtype)

    def crop(self, slices: tuple[slice, ...]) -> FactoredKernel:
        """The part of the kernel that `slices`, one per axis, leave."""
        if all(s.start == 0 and s.stop == n for s, n in zip(slices, self.size)):
            return self
        return FactoredKernel(self.weight, self.basis[(slice(None), *slices)])

    def keep(self) -> FactoredKernel:
        """The kernel without its graph, which remembers its dense form and its spectra."""
        kept = FactoredKernel(self.weight.detach(), self.basis.detach())
        kept.spectra = {}
        return kept
