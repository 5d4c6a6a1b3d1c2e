"""Kernels at another sampling rate than the trained one, as the CKConv code samples them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ckconv.errors import UsageError

if TYPE_CHECKING:
    from ckconv.nn.conv import CKConv

SIGMA = 0.5  # of the smoothing Gaussian, in samples


@dataclass(frozen=True)
class StepGrid:
    """Positions that keep the trained step: from -1 on, by the step times a whole number or by
    its whole part, wherever the last one comes to lie (CKConv paper, appendix D).

    last: the last position, the most recent sample's; under or over 1 where the lengths do not
        divide.
    ratio: trained over present sampling rate; the kernel is multiplied by it.
    """

    last: float
    ratio: float

    @classmethod
    def of(cls, trained: int, length: int) -> StepGrid:
        """The grid of `length` samples of what was `trained` samples long in training."""
        ratio = round(trained / length) if trained >= length else 1 / round(length / trained)
        return cls(-1 + (length - 1) * ratio * 2 / (trained - 1), float(ratio))

    @property
    def reach(self) -> int:
        """Samples on each side that a kernel is smoothed over: none but at a higher rate."""
        return round(1 / self.ratio) if self.ratio < 1 else 0

    def smoothed(self, functions: Tensor) -> Tensor:
        """(H, N) under a Gaussian along N; the first and the last `reach` samples as they are."""
        reach = self.reach
        if not reach or functions.shape[1] <= 2 * reach:
            return functions
        offsets = torch.arange(-reach, reach + 1, dtype=functions.dtype, device=functions.device)
        bell = torch.exp(-0.5 * (offsets / SIGMA).square()) / (SIGMA * math.sqrt(2 * math.pi))
        inner = torch.conv1d(functions[:, None], bell[None, None])[:, 0]  # (H, N - 2 reach)
        return torch.cat((functions[:, :reach], inner, functions[:, -reach:]), dim=1)


def set_length(layer: CKConv, length: int) -> None:
    """Deploy a causal layer, as long as its input, on `length` samples of the same span.

    Raises `UsageError` where there is a mask, or the kernel is shorter than its input.
    """
    if layer.dim != 1 or layer.mask is not None or layer.horizon != "same":
        raise UsageError(
            "dataset_params.sr_positions=ckconv: is for conv.type=CKConv on sequences with "
            "conv.horizon=same; leave it span"
        )
    (trained,) = layer.extent.tolist()
    layer.grid = StepGrid.of(trained, length)
    layer.sampling_rate_norm *= layer.grid.ratio
    layer.in_use.resize(layer.extent, (length,))
