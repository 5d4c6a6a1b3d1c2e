"""A kernel kept as a mix of a few functions."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from threading import Lock
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ckconv.functional.ways import full_precision

if TYPE_CHECKING:
    from jaxtyping import Float

MOST_SPECTRA = 2  # of a kept kernel: those of an evaluation's batches, and of its smaller last one


class Spectra:
    """The kernel's spectra that were used last, by what they were laid out for."""

    def __init__(self) -> None:
        self._kept: dict[Hashable, Tensor] = {}
        self._lock = Lock()

    def get(self, key: Hashable, make: Callable[[], Tensor]) -> Tensor:
        """The spectrum known by `key`, kept or from `make`."""
        with self._lock:
            spectrum = self._kept.pop(key, None)
            spectrum = make() if spectrum is None else spectrum
            while len(self._kept) >= MOST_SPECTRA:
                self._kept.pop(next(iter(self._kept)))  # the one whose use lies furthest back
            self._kept[key] = spectrum
            return spectrum

    def items(self) -> list[tuple[Hashable, Tensor]]:
        """What is kept, by its key."""
        return list(self._kept.items())

    def __len__(self) -> int:
        return len(self._kept)


class FactoredKernel:
    """A kernel that is linear in a few functions: `kernel[o, c] = sum_h weight[o, c, h] basis[h]`.

    Every kernel generator ends in a linear map, so this is the form in which it gives a kernel:
    tens of functions instead of out x in, nine hundred to a few thousand. The spectral
    convolution transforms the functions and mixes their spectra.

    Args:
        weight: (O, C, H).
        basis: (H, *k), mask and scaling included.
    """

    def __init__(
        self, weight: Float[Tensor, "out channels H"], basis: Float[Tensor, " H *k"]
    ) -> None:
        self.weight, self.basis = weight, basis
        self._dense: Tensor | None = None
        self.spectra: Spectra | None = None  # where it is kept

    @property
    def size(self) -> torch.Size:
        """The kernel's size per axis, k."""
        return self.basis.shape[1:]

    @property
    def shape(self) -> torch.Size:
        """The shape of the kernel written out, (O, C, *k)."""
        return self.weight.shape[:2] + self.basis.shape[1:]

    @property
    def dtype(self) -> torch.dtype:
        return self.basis.dtype

    @property
    def ndim(self) -> int:
        return self.basis.ndim + 1

    @property
    def requires_grad(self) -> bool:
        return self.weight.requires_grad or self.basis.requires_grad

    def dense(self) -> Float[Tensor, "out channels *k"]:
        """The kernel written out: (O, C, *k). Computed once."""
        if self._dense is None:
            out, channels, functions = self.weight.shape
            mixed = self.weight.reshape(-1, functions) @ self.basis.flatten(1)
            self._dense = mixed.view(out, channels, *self.size)
        return self._dense

    def norm(self) -> Float[Tensor, ""]:
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
        """The kernel without its graph, which remembers its dense form and its last spectra."""
        kept = FactoredKernel(self.weight.detach(), self.basis.detach())
        kept.spectra = Spectra()
        return kept


def functions(kernel: Tensor | FactoredKernel) -> int:
    """How many functions a kernel mixes; 0 for one that is written out."""
    return kernel.basis.shape[0] if isinstance(kernel, FactoredKernel) else 0


def last_output(
    x: Float[Tensor, "B channels L"], kernel: FactoredKernel, bias: Float[Tensor, " out"] | None
) -> Float[Tensor, "B out 1"]:
    """The last step alone of a causal 1-D convolution: (B, C, L) -> (B, O, 1)."""
    k = min(kernel.size[0], x.shape[2])
    with full_precision(x.device):
        recent = x[..., -k:].to(kernel.basis.dtype)
        mixed = recent @ kernel.basis[:, -k:].T  # (B, C, H)
        y = mixed.flatten(1) @ kernel.weight.flatten(1).T  # (B, O)
        y = y if bias is None else y + bias
    return y[..., None].to(x.dtype)
