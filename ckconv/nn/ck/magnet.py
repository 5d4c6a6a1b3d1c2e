"""MAGNet: multiplicative anisotropic Gabor networks."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from ckconv.config import KernelConfig
from ckconv.errors import UsageError
from ckconv.nn.ck.mfn import MFN, GaborFilter

if TYPE_CHECKING:
    from jaxtyping import Float


class SteerableGaborFilter(GaborFilter):
    """A 2-D anisotropic Gabor filter whose Gaussian is rotated by a learned angle.

    `theta` counts turns: the angle is 2 pi theta. It starts uniform in [0, 1].
    """

    def __init__(self, dim: int, features: int, *args: float, **kwargs: float) -> None:
        super().__init__(dim, features, *args, **kwargs)
        self.theta = nn.Parameter(torch.rand(features))

    def inverse_widths(self) -> Tensor:
        """1 / sigma of the rotated Gaussians along the axes of the image, (features, 2).

        A rotated Gaussian's spectrum is rotated with it; along an axis its standard deviation is
        the root of the rotated variances.
        """
        angle = 2 * math.pi * self.theta[:, None]
        share = torch.cat((angle.cos(), angle.sin()), dim=1).square()  # (H, 2)
        variance = self.gamma.square()
        along = ((share * variance).sum(1), (share.flip(1) * variance).sum(1))
        return torch.stack(along, 1).sqrt()

    def offsets(self, positions: Float[Tensor, "2 N"]) -> Float[Tensor, "H 2 N"]:
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

    frequency_setting = "input_scale"

    def __init__(
        self,
        dim: int,
        out_channels: int,
        cfg: KernelConfig | None = None,
        centres: float | None = None,
    ) -> None:
        if cfg is not None and cfg.steerable and dim != 2:
            raise UsageError(
                f"kernel.steerable=True: a rotation needs two axes, but the data has {dim}; "
                "use kernel.steerable=False"
            )
        super().__init__(dim, out_channels, cfg, centres)

    def make_filter(
        self, dim: int, cfg: KernelConfig, scale: float, centres: float, level: int
    ) -> GaborFilter:
        kind = SteerableGaborFilter if cfg.steerable else GaborFilter
        return kind(dim, cfg.no_hidden, scale, 6.0 / level, centres, gamma_axes=dim)


GENERATORS = {"MAGNet": MAGNet}
