"""The generators to choose from: those of `ckconv.nn.ck`, and two that others are measured by."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from ckconv.config import KernelConfig
from ckconv.nn import ck
from ckconv.nn.njet import derivative_pairs, gaussian_derivatives
from ckernel_fitting.settings import Settings

SAMPLES_PER_SIGMA = 16  # of a grid, where an N-Jet's initial sigma is not asked for


def build_generator(settings: Settings, dim: int, channels: int, samples: int) -> nn.Module:
    """The generator of `settings`: positions (1, dim, *size) -> values (1, channels, *size).

    `samples`: of the longest axis of the grid, by which an N-Jet measures its sigma.
    """
    kernel = settings.built
    if kernel.type == "SRF":
        sigma = settings.init_sigma or samples / SAMPLES_PER_SIGMA
        return NJetKernel(dim, channels, settings.order, 2 * sigma / max(1, samples - 1))
    if kernel.type == "RandomFourier":
        features = settings.fourier_features or kernel.no_hidden
        return RandomFourier(dim, channels, features, settings.fourier_scale, kernel)
    return ck.build(kernel, dim, channels)


def count_parameters(model: nn.Module) -> int:
    """The number of trained values."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


class RandomFourier(ck.Generator):
    """Random Fourier features `sin, cos(2 pi B x)` under a perceptron (Tancik et al., 2020).

    The frequencies B are drawn once, from a normal distribution of `scale` cycles per unit, and
    stay; with `cfg.no_layers=1` what follows is one linear map. Raises what `ck.MLP` raises.
    """

    def __init__(
        self,
        dim: int,
        out_channels: int,
        features: int,
        scale: float,
        cfg: KernelConfig,
    ) -> None:
        super().__init__(dim)
        self.register_buffer("frequencies", scale * torch.randn(features, dim))
        width = 2 * features
        is_deep = cfg.no_layers > 1
        self.perceptron = ck.MLP(width, out_channels, cfg) if is_deep else None
        self.linear = None if is_deep else ck.PointwiseLinear(width, out_channels)

    def hidden(self, positions: Tensor) -> Tensor:
        phases = 2 * math.pi * self.frequencies @ positions  # (features, N)
        features = torch.cat((phases.sin(), phases.cos()))  # (2 features, N)
        return self.perceptron.hidden(features) if self.perceptron else features

    @property
    def output(self) -> ck.PointwiseLinear:
        return self.perceptron.output if self.perceptron else self.linear


class NJetKernel(nn.Module):
    """One N-Jet kernel sampled on a grid: Gaussian derivatives up to `order`, mixed.

    The basis of `ckconv.nn.NJet`, in one or two dimensions, over the whole grid. Each derivative
    is scaled to a root mean square of one on [-1, 1], which leaves the functions it can represent
    as they are and makes coefficients of order one, which Adam reaches, enough. sigma, in units
    of the positions, is learned as a power of two.
    """

    def __init__(self, dim: int, out_channels: int, order: int, init_sigma: float) -> None:
        super().__init__()
        self.dim, self.order = dim, order
        self.pairs = derivative_pairs(order) if dim == 2 else []
        count = len(self.pairs) or order + 1
        self.alphas = nn.Parameter(torch.randn(out_channels, count) / math.sqrt(count))
        self.scales = nn.Parameter(torch.tensor([math.log2(init_sigma)]))
        # The integral of (sigma^n d^n/dx^n G)^2 over the line is sigma Gamma(n + 1/2).
        squares = [[math.gamma(n + 0.5) / 2] for n in range(order + 1)]
        self.register_buffer("squares", torch.tensor(squares), persistent=False)

    def derivatives(self, axis: Tensor) -> Tensor:
        """The basis along one axis of K positions, (order + 1, K)."""
        sigma = torch.exp2(self.scales)
        return gaussian_derivatives(axis, sigma, self.order) / (sigma * self.squares).sqrt()

    def forward(self, positions: Tensor) -> Tensor:
        """Kernel values (1, out_channels, *size) on a regular grid of positions (1, dim, *size)."""
        if self.dim == 1:
            return (self.alphas @ self.derivatives(positions[0, 0]))[None]  # (1, C, K)
        rows = self.derivatives(positions[0, 0, :, 0])  # (order + 1, H)
        columns = self.derivatives(positions[0, 1, 0, :])  # (order + 1, W)
        i, j = (list(orders) for orders in zip(*self.pairs))
        weights = self.alphas.new_zeros(len(self.alphas), self.order + 1, self.order + 1)
        weights[:, i, j] = self.alphas
        return (rows.T @ weights @ columns)[None]  # (1, C, H, W)
