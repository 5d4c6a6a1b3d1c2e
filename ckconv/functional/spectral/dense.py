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
    rows = spectrum(frames.split(x), frames.lengths)  # (2 F, B J G C)
    mixed = _mix(_grouped(rows, groups, channels), kernel, frames, dilation, groups)
    y = from_spectrum(_ungrouped(mixed, groups), frames.lengths)  # (B J G O, *lengths)
    return frames.join(y.view(batch, frames.count, -1, *frames.lengths))


def _grouped(rows: Tensor, groups: int, channels: int) -> Tensor:
    """(2 F, B G C) -> (F G, 2, B, C)."""
    parts = rows.view(rows.shape[0] // 2, 2, -1, groups, channels)
    return parts.permute(0, 3, 1, 2, 4).flatten(0, 1)


def _ungrouped(parts: Tensor, groups: int) -> Tensor:
    """(F G, 2, B, O) -> (2 F, B G O)."""
    parts = parts.unflatten(0, (-1, groups)).permute(0, 2, 3, 1, 4)  # (F, 2, B, G, O)
    return parts.flatten(2).flatten(0, 1)


def _mix(
    x: Tensor, kernel: FactoredKernel, frames: Frames, dilation: tuple[int, ...], groups: int
) -> Tensor:
    """Apply the kernel frequency by frequency: (F G, 2, B, C) -> (F G, 2, B, O)."""
    if kernel.spectra is None:
        return mix(x, *_spectrum(kernel, frames, dilation, groups))
    key = frames.lengths, frames.wrap, dilation
    kept = kernel.spectra.get(key, lambda: write_out(*_spectrum(kernel, frames, dilation, groups)))
    return apply_spectrum(x, kept)


def _spectrum(
    kernel: FactoredKernel, frames: Frames, dilation: tuple[int, ...], groups: int
) -> tuple[Tensor, Tensor]:
    """The functions' spectra (F, 2, H) and the weights (H, G, C, O) that mix them."""
    basis = lay_out(at_least_float(kernel.basis), frames, dilation)  # (H, *k)
    sides = [side for n, k in zip(frames.lengths, basis.shape[1:]) for side in (n - k, 0)]
    basis = spectrum(nnf.pad(basis, sides[::-1]), frames.lengths)  # (2 F, H)
    weight = at_least_float(kernel.weight).unflatten(0, (groups, -1))  # (G, O, C, H)
    return basis.unflatten(0, (-1, 2)), weight.permute(3, 0, 2, 1).contiguous()
