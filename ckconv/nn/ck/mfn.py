"""Multiplicative filter networks as kernel generators: FourierNet and GaborNet."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor, nn

from ckconv.config import KernelConfig
from ckconv.nn.ck.base import Generator, PointwiseLinear

if TYPE_CHECKING:
    from jaxtyping import Float

FOURIER_INPUT_SCALE = 256.0
SHARED_WIDTH = 0.6  # of Gaussians that share samples out, in sides of a share


class FourierFilter(nn.Module):
    """`sin(W x + b)`: (dim, N) -> (features, N). Phases b start uniform in [-pi, pi]."""

    def __init__(self, dim: int, features: int, weight_scale: float) -> None:
        super().__init__()
        self.linear = PointwiseLinear(dim, features)
        with torch.no_grad():
            self.linear.weight.mul_(weight_scale)
            self.linear.bias.uniform_(-math.pi, math.pi)

    @classmethod
    def radians(cls, filters: Sequence[FourierFilter], gauss_stddevs: float) -> Tensor:
        """The highest angular frequency of each of several filters of this class, (filters,)."""
        return _largest([f.linear.effective_weight() for f in filters])

    def forward(self, positions: Float[Tensor, "dim N"]) -> Float[Tensor, "H N"]:
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
        gamma = torch.empty(features, gamma_axes)
        if not gamma.is_meta:  # on which nothing can be drawn from this distribution
            gamma = torch.distributions.Gamma(alpha, 1.0).sample(gamma.shape)
        self.gamma = nn.Parameter(gamma)
        with torch.no_grad():
            self.linear.weight.mul_(self.gamma)

    @classmethod
    def radians(cls, filters: Sequence[GaborFilter], gauss_stddevs: float) -> Tensor:
        """The sines' and, of the Gaussians' spectra, so many standard deviations more."""
        widths = _largest([f.inverse_widths() for f in filters])
        return super().radians(filters, gauss_stddevs) + gauss_stddevs * widths

    def inverse_widths(self) -> Tensor:
        """1 / sigma of the Gaussians, (features, 1 or axes): in the spectrum, their widths."""
        return self.gamma

    def offsets(self, positions: Float[Tensor, "dim N"]) -> Float[Tensor, "H dim N"]:
        """Positions relative to the filters' centres, (H, dim, N)."""
        return positions - self.mu[:, :, None]

    @torch.no_grad()
    def share_out(
        self,
        positions: Float[Tensor, "dim N"],
        density: Float[Tensor, " N"],
        step: Float[Tensor, " dim"],
    ) -> None:
        """Spread the Gaussians over samples `step` apart, as `density` says, and narrow them.

        They are about as wide as their own share of the samples. Along each axis centres are
        quantiles, by an additive recurrence of the powers of 1 / phi, phi^(dim + 1) = phi + 1,
        which covers the unit cube evenly.
        """
        features, dim = self.mu.shape
        phi = 2.0
        for _ in range(64):
            phi = (1 + phi) ** (1 / (dim + 1))
        counts = torch.arange(1, features + 1, dtype=torch.float64)
        for axis in range(dim):
            places, of = positions[axis].unique(return_inverse=True)
            marginal = torch.zeros_like(places).index_add_(0, of, density)
            edges = torch.cat((marginal.new_zeros(1), marginal.cumsum(0) / marginal.sum()))
            wanted = ((0.5 + counts * phi ** -(axis + 1)) % 1).to(edges)
            drawn = torch.searchsorted(edges, wanted).clamp(1, len(places)) - 1
            within = (wanted - edges[drawn]) / (edges[drawn + 1] - edges[drawn]) - 0.5
            self.mu[:, axis] = places[drawn] + within * step[axis]
        samples = (density.sum() / density.max() / features).clamp(min=1) ** (1 / dim)
        widths = 1 / (SHARED_WIDTH * samples * step)  # (dim,)
        self.gamma.copy_(widths if self.gamma.shape[1] == dim else widths.mean())

    def forward(self, positions: Float[Tensor, "dim N"]) -> Float[Tensor, "H N"]:
        scaled = self.gamma[:, :, None] * self.offsets(positions)  # (H, dim, N)
        envelope = torch.exp(-0.5 * scaled.square().sum(1))
        return envelope * super().forward(positions)  # (H, N)


class MFN(Generator):
    """A multiplicative filter network: `h_1 = g_1(x)`, `h_l = (W_l h_{l-1} + b_l) * g_l(x)`.

    Fathony et al., 2021. `no_layers` hidden linear maps and `no_layers + 1` filters, which the
    subclasses make. `bias_init` is for the biases of the linear maps; the filters' phases start
    uniform in +-pi.
    """

    sampled_together = True
    is_bounded = True
    input_scale: ClassVar[float | None] = None  # of the initial frequencies; None: the setting's

    def __init__(
        self,
        dim: int,
        out_channels: int,
        cfg: KernelConfig | None = None,
        centres: float | None = None,
    ) -> None:
        super().__init__(dim)
        cfg = cfg or KernelConfig()
        centres = cfg.init_spatial_value if centres is None else centres
        n = cfg.no_layers + 1
        scale = (self.input_scale or cfg.input_scale) / math.sqrt(n)
        self.filters = nn.ModuleList(
            self.make_filter(dim, cfg, scale, centres, level) for level in range(1, n + 1)
        )
        self.linears = nn.ModuleList(
            PointwiseLinear(cfg.no_hidden, cfg.no_hidden) for _ in range(cfg.no_layers)
        )
        for linear in self.linears:
            linear.init_weight(math.sqrt(1 / cfg.no_hidden))
        self.output = PointwiseLinear(cfg.no_hidden, out_channels)
        for linear in (*self.linears, self.output):
            linear.init_bias(cfg.bias_init)

    def make_filter(
        self, dim: int, cfg: KernelConfig, scale: float, centres: float, level: int
    ) -> FourierFilter:
        """The filter of one level, counted from 1."""
        raise NotImplementedError

    @classmethod
    def highest_frequencies(
        cls, generators: Sequence[MFN], gauss_stddevs: float
    ) -> Float[Tensor, "generators filters"]:
        filters = [f for generator in generators for f in generator.filters]
        radians = type(filters[0]).radians(filters, gauss_stddevs)
        return (radians / (2 * math.pi)).view(len(generators), -1)

    @torch.no_grad()
    def spread(self, factor: float) -> None:
        for g in self.filters:
            if isinstance(g, GaborFilter):
                g.mu.mul_(factor)

    @torch.no_grad()
    def balance(
        self,
        positions: Float[Tensor, "dim N"],
        weighting: Float[Tensor, " N"],
        channels: int,
        step: Float[Tensor, " dim"],
    ) -> None:
        """Let the kernel start as PyTorch starts a convolution's weights, and learn as fast.

        A product of filters is small beside the output map's bias, so that all kernels start as
        nearly the same constant, and its functions overlap in the middle, so that training moves
        all samples at once. Here that bias starts at zero, the last filters' Gaussians share the
        samples out among them, the hidden functions' squares add up to 1 on the masked average,
        so that a step of Adam moves a sample about as far as it moves a weight, and the kernel's
        variance is that of PyTorch's default, 1 / (3 * channels * N).
        """
        if isinstance(self.filters[-1], GaborFilter):
            self.filters[-1].share_out(positions, weighting.sqrt(), step)
        last, power = self.linears[-1], weighting.square() / weighting.square().sum()
        sizes = self.hidden(positions).square().mean(1).sqrt()  # (H,)
        _scale_rows(last, 1 / sizes.clamp(min=max(sizes.mean() / 4, 1e-12)))
        total = (self.hidden(positions).square().sum(0) * power).sum().sqrt()
        _scale_rows(last, 1 / total.clamp(min=1e-12))
        self.output.bias.zero_()
        masked = self.hidden(positions) * weighting
        kernel = self.output.weight.to(masked.dtype) @ masked  # (out, N)
        wanted = 1 / math.sqrt(3 * channels * len(weighting))
        self.output.weight.mul_(wanted / kernel.square().mean().sqrt().clamp(min=1e-12))

    def hidden(self, positions: Float[Tensor, "dim N"]) -> Float[Tensor, "H N"]:
        h = self.filters[0](positions)  # (H, N)
        for linear, g in zip(self.linears, self.filters[1:]):
            h = linear(h) * g(positions)
        return h


class FourierNet(MFN):
    """A multiplicative filter network of sines. Its input scale is always 256."""

    input_scale = FOURIER_INPUT_SCALE

    def make_filter(
        self, dim: int, cfg: KernelConfig, scale: float, centres: float, level: int
    ) -> FourierFilter:
        return FourierFilter(dim, cfg.no_hidden, scale)


class GaborNet(MFN):
    """A multiplicative filter network of isotropic Gabor functions."""

    frequency_setting = "input_scale"

    def make_filter(
        self, dim: int, cfg: KernelConfig, scale: float, centres: float, level: int
    ) -> GaborFilter:
        return GaborFilter(dim, cfg.no_hidden, scale, 6.0 / (cfg.no_layers + 1), centres)


def _scale_rows(linear: PointwiseLinear, factor: Tensor) -> None:
    """Scale the values of a linear map, all alike or each by its own factor."""
    linear.weight.mul_(factor.view(-1, 1))
    linear.bias.mul_(factor)


def _largest(tensors: list[Tensor]) -> Tensor:
    """The largest magnitude in each tensor, (tensors,)."""
    if len({tensor.shape for tensor in tensors}) == 1:
        return torch.stack(tensors).abs().flatten(1).amax(1)
    return torch.stack([tensor.abs().amax() for tensor in tensors])


GENERATORS = {"Fourier": FourierNet, "Gabor": GaborNet}
