"""Multiplicative filter networks as kernel generators: FourierNet and GaborNet."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from ckconv.nn.ck.base import Generator, PointwiseLinear

FOURIER_INPUT_SCALE = 256.0


class FourierFilter(nn.Module):
    """`sin(W x + b)`: (dim, N) -> (features, N). Phases b start uniform in [-pi, pi]."""

    def __init__(self, dim: int, features: int, weight_scale: float) -> None:
        super().__init__()
        self.linear = PointwiseLinear(dim, features)
        with torch.no_grad():
            self.linear.weight.mul_(weight_scale)
            self.linear.bias.uniform_(-math.pi, math.pi)

    def forward(self, positions: Tensor) -> Tensor:
        return torch.sin(self.linear(positions))  # (H, N)


class GaborFilter(FourierFilter):
    """A sine under a Gaussian: `exp(-1/2 |gamma (x - mu)|^2) * sin(W x + b)`.

    gamma, the inverse width, is drawn from Gamma(`alpha`, 1) with `gamma_axes` values per
    filter: one for an isotropic Gaussian, `dim` for one width per axis. Centres mu start uniform
    in +-`init_spatial_value`; frequencies start proportional to gamma.
    """

    def __init__(
        self,
        dim: int,
        features: int,
        weight_scale: float,
        alpha: float,
        init_spatial_value: float,
        gamma_axes: int = 1,
    ) -> None:
        super().__init__(dim, features, weight_scale)
        self.mu = nn.Parameter(torch.empty(features, dim))
        nn.init.uniform_(self.mu, -init_spatial_value, init_spatial_value)
        gamma = torch.distributions.Gamma(alpha, 1.0).sample((features, gamma_axes))
        self.gamma = nn.Parameter(gamma)
        with torch.no_grad():
            self.linear.weight.mul_(self.gamma)

    def offsets(self, positions: Tensor) -> Tensor:
        """Positions relative to the filters' centres, (H, dim, N)."""
        return positions - self.mu[:, :, None]

    def forward(self, positions: Tensor) -> Tensor:
        scaled = self.gamma[:, :, None] * self.offsets(positions)  # (H, dim, N)
        envelope = torch.exp(-0.5 * scaled.square().sum(1))
        return envelope * super().forward(positions)  # (H, N)


class MFN(Generator):
    """A multiplicative filter network: `h_1 = g_1(x)`, `h_l = (W_l h_{l-1} + b_l) * g_l(x)`.

    Fathony et al., 2021. `no_layers` hidden linear maps and `no_layers + 1` filters, which the
    subclasses make.
    """

    def __init__(self, dim: int, out_channels: int, no_hidden: int, filters: list[nn.Module]):
        super().__init__(dim)
        self.filters = nn.ModuleList(filters)
        self.linears = nn.ModuleList(PointwiseLinear(no_hidden, no_hidden) for _ in filters[1:])
        for linear in self.linears:
            linear.init_weight(math.sqrt(1 / no_hidden))
        self.output = PointwiseLinear(no_hidden, out_channels)

    def hidden(self, positions: Tensor) -> Tensor:
        h = self.filters[0](positions)  # (H, N)
        for linear, g in zip(self.linears, self.filters[1:]):
            h = linear(h) * g(positions)
        return h


class FourierNet(MFN):
    """A multiplicative filter network of sines. Its input scale is always 256."""

    def __init__(
        self, dim: int, out_channels: int, no_hidden: int = 32, no_layers: int = 3
    ) -> None:
        scale = FOURIER_INPUT_SCALE / math.sqrt(no_layers + 1)
        filters = [FourierFilter(dim, no_hidden, scale) for _ in range(no_layers + 1)]
        super().__init__(dim, out_channels, no_hidden, filters)


class GaborNet(MFN):
    """A multiplicative filter network of isotropic Gabor functions."""

    def __init__(
        self,
        dim: int,
        out_channels: int,
        no_hidden: int = 32,
        no_layers: int = 3,
        input_scale: float = 25.6,
        init_spatial_value: float = 1.0,
    ) -> None:
        n = no_layers + 1
        scale = input_scale / math.sqrt(n)
        filters = [
            GaborFilter(dim, no_hidden, scale, 6.0 / n, init_spatial_value) for _ in range(n)
        ]
        super().__init__(dim, out_channels, no_hidden, filters)
