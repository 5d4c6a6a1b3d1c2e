"""MAGNet: multiplicative anisotropic Gabor networks."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from ckconv.errors import UsageError
from ckconv.nn.ck.mfn import MFN, GaborFilter


class SteerableGaborFilter(GaborFilter):
    """A 2-D anisotropic Gabor filter whose Gaussian is rotated by a learned angle.

    `theta` counts turns: the angle is 2 pi theta. It starts uniform in [0, 1].
    """

    def __init__(self, dim: int, features: int, *args: float, **kwargs: float) -> None:
        super().__init__(dim, features, *args, **kwargs)
        self.theta = nn.Parameter(torch.rand(features))

    def offsets(self, positions: Tensor) -> Tensor:
        dx, dy = super().offsets(positions).unbind(1)  # (H, N) each
        angle = 2 * math.pi * self.theta[:, None]
        cos, sin = angle.cos(), angle.sin()
        return torch.stack((cos * dx + sin * dy, cos * dy - sin * dx), dim=1)  # (H, 2, N)


class MAGNet(MFN):
    """A multiplicative filter network of Gabor functions with one width per axis.

    FlexConv paper, section 3.2: `exp(-1/2 sum_d (gamma_d (x_d - mu_d))^2) * sin(W x + b)`. The
    widths of filter l are drawn from Gamma(6 / l, 1), so that later filters, whose spectra add
    to those before, start wider. `steerable` adds a learned rotation, in 2-D only.
    """

    def __init__(
        self,
        dim: int,
        out_channels: int,
        no_hidden: int = 32,
        no_layers: int = 3,
        input_scale: float = 25.6,
        init_spatial_value: float = 1.0,
        steerable: bool = False,
    ) -> None:
        if steerable and dim != 2:
            raise UsageError(
                f"kernel.steerable=True: a rotation needs two axes, but the data has {dim}; "
                "use kernel.steerable=False"
            )
        n = no_layers + 1
        scale = input_scale / math.sqrt(n)
        filter_type = SteerableGaborFilter if steerable else GaborFilter
        filters = [
            filter_type(dim, no_hidden, scale, 6.0 / level, init_spatial_value, gamma_axes=dim)
            for level in range(1, n + 1)
        ]
        super().__init__(dim, out_channels, no_hidden, filters)
