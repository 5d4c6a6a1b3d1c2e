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


CCNN = "ccnn"  # of `KernelConfig.init`


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

    With `init=ccnn` it starts as in "Modelling Long Range Dependencies in N-D", Knigge et al., ICLR
    2023: frequencies grow with `omega_0` instead of `input_scale`, phases are zero, linear maps
    start Kaiming uniform with biases of one, the last one's zero. Under a causal mask centres start
    in front of the present. When a layer's kernel has a size, the last map is divided by the root
    of the number of products that the convolution adds up, which preserves the variance from input
    to output (Chang et al., "Principled weight initialization for hypernetworks", ICLR 2020).
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
        self._origin = [0.0] * dim  # around which centres start
        self.preserves_variance = cfg is not None and cfg.init == CCNN
        if self.preserves_variance:
            self._start_as_ccnn(cfg)

    @torch.no_grad()
    def _start_as_ccnn(self, cfg: KernelConfig) -> None:
        for g in self.filters:
            g.linear.reset_parameters()
            g.linear.weight.mul_(2 * math.pi * cfg.omega_0 * g.gamma)
            nn.init.zeros_(g.linear.bias)
        for linear in (*self.linears, self.output):
            linear.init_weight(math.sqrt(3 / linear.in_features))
            nn.init.constant_(linear.bias, 0.0 if linear is self.output else 1.0)
            linear.init_bias(cfg.bias_init)

    @torch.no_grad()
    def precede(self, axis: int) -> None:
        if not self.preserves_variance:
            return
        self._origin[axis] = 1.0
        for g in self.filters:
            g.mu[:, axis] = 1 - g.mu[:, axis].abs()

    @torch.no_grad()
    def spread(self, factor: float) -> None:
        for g in self.filters:
            origin = g.mu.new_tensor(self._origin)
            g.mu.copy_(origin + factor * (g.mu - origin))

    @torch.no_grad()
    def scale(self, terms: int) -> None:
        self.output.weight.mul_(terms**-0.5)

    def make_filter(
        self, dim: int, cfg: KernelConfig, scale: float, centres: float, level: int
    ) -> GaborFilter:
        kind = SteerableGaborFilter if cfg.steerable else GaborFilter
        return kind(dim, cfg.no_hidden, scale, 6.0 / level, centres, gamma_axes=dim)


GENERATORS = {"MAGNet": MAGNet}
