"""Dropout whose masks are cheap on a CPU."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ckconv.nn.mapped import is_mapped

_LEVELS = 1 << 16  # of a mask's random numbers: the rate is rounded to as many


class Dropout(nn.Dropout):
    """`nn.Dropout`, which on a CPU in training draws 16 random bits for a number.

    PyTorch's own draws a whole random number for each, which takes several times as long as a
    norm does. Elsewhere, and in what cannot be drawn so, it is PyTorch's own.
    """

    def forward(self, x: Tensor) -> Tensor:
        dropped = round(self.p * _LEVELS)
        if not self.training or dropped in (0, _LEVELS) or not _takes_bits(x):
            return super().forward(x)
        words = torch.empty(-(-x.numel() // 4), dtype=torch.int64).random_(-(1 << 63), None)
        kept = words.view(torch.int16)[: x.numel()] >= dropped - _LEVELS // 2
        factors = kept.to(x.dtype).mul_(_LEVELS / (_LEVELS - dropped))
        return x * factors.as_strided(x.shape, x.stride())


def _takes_bits(x: Tensor) -> bool:
    """Whether x lies in one piece on a CPU, and is only itself."""
    if x.device.type != "cpu" or not x.is_floating_point() or torch.compiler.is_compiling():
        return False
    if is_mapped(x):
        return False
    return x.is_contiguous() or any(
        x.is_contiguous(memory_format=layout)
        for ndim, layout in ((4, torch.channels_last), (5, torch.channels_last_3d))
        if x.ndim == ndim
    )
