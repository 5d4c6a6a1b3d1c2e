"""Convolution in the frequency domain with sums over channels: a factored kernel's own product."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch.nn.functional as nnf
from torch import Tensor

from ckconv.functional.kernel import FactoredKernel
from ckconv.functional.spectral.frames import Frames
from ckconv.functional.spectral.mixing import apply_spectrum, mix, write_out
from ckconv.functional.spectral.transform import (
    at_least_float,
    from_spectrum,
    lay_out,
    spectrum,
)

if TYPE_CHECKING:
    from jaxtyping import Float


def dense(
    x: Float[Tensor, "B channels *size"],
    kernel: FactoredKernel,
    frames: Frames,
    dilation: tuple[int, ...],
) -> Float[Tensor, "B out *steps"]:
    """Sums over the channels of each group, at every output: (B, C, *size) -> (B, O, *out)."""
    batch, channels = x.shape[0], kernel.shape[1]
    groups = x.shape[1] // channels
    x_hat = spectrum(frames.split(x), frames.lengths)  # (F, B J G C, 2)
    y_hat = _mix(_grouped(x_hat, groups, channels), kernel, frames, dilation, groups)
    y = from_spectrum(_ungrouped(y_hat, groups), frames.lengths)  # (B J G O, *lengths)
    return frames.join(y.view(batch, frames.count, -1, *frames.lengths))


def _grouped(x_hat: Tensor, groups: int, channels: int) -> Tensor:
    """(F, B G C, 2) -> (F G, B, C, 2)."""
    return x_hat.unflatten(1, (-1, groups, channels)).transpose(1, 2).flatten(0, 1)


def _ungrouped(y_hat: Tensor, groups: int) -> Tensor:
    """(F G, B, O, 2) -> (F, B G O, 2)."""
    return y_hat.unflatten(0, (-1, groups)).transpose(1, 2).flatten(1, 3)


def _mix(
    x: Tensor, kernel: FactoredKernel, frames: Frames, dilation: tuple[int, ...], groups: int
) -> Tensor:
    """Apply the kernel frequency by frequency: (F G, B, C, 2) -> (F G, B, O, 2)."""
    if kernel.spectra is None:
        return mix(x, *_spectrum(kernel, frames, dilation, groups))
    key = frames.lengths, frames.wrap, dilation
    kept = kernel.spectra.get(key, lambda: write_out(*_spectrum(kernel, frames, dilation, groups)))
    return apply_spectrum(x, kept)


def _spectrum(
    kernel: FactoredKernel, frames: Frames, dilation: tuple[int, ...], groups: int
) -> tuple[Tensor, Tensor]:
    """The functions' spectra (F, H, 2) and the weights (H, G, C, O) that mix them."""
    basis = lay_out(at_least_float(kernel.basis), frames, dilation)  # (H, *k)
    sides = [side for n, k in zip(frames.lengths, basis.shape[1:]) for side in (n - k, 0)]
    basis = spectrum(nnf.pad(basis, sides[::-1]), frames.lengths)  # (F, H, 2)
    weight = at_least_float(kernel.weight).unflatten(0, (groups, -1))  # (G, O, C, H)
    return basis, weight.permute(3, 0, 2, 1).contiguous()
