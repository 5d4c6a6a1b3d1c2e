"""Sinusoidal representation networks as kernel generators."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from ckconv.nn.ck.base import Generator, PointwiseLinear


class SineLayer(nn.Module):
    """`sin(omega_0 (W x + b))`; with `scale_bias=False`, nSIREN's `sin(omega_0 W x + b)`."""

    def __init__(
        self,
        in_features: int,
        out_features: int,
        omega_0: float,
        learn_omega_0: bool,
        weight_norm: bool,
        scale_bias: bool,
    ) -> None:
        super().__init__()
        self.linear = PointwiseLinear(in_features, out_features, weight_norm)
        value = torch.full((1,), float(omega_0))
        if learn_omega_0:
            self.omega_0 = nn.Parameter(value)
        else:
            self.register_buffer("omega_0", value)
        self.scale_bias = scale_bias

    def forward(self, x: Tensor) -> Tensor:
        weight = self.omega_0 * self.linear.effective_weight()
        bias = self.omega_0 * self.linear.bias if self.scale_bias else self.linear.bias
        return torch.sin(torch.addmm(bias[:, None], weight, x))  # (out, N)


class SIREN(Generator):
    """A SIREN of `no_layers` linear maps, sines after all but the last.

    Sitzmann et al., 2020; as a kernel generator, CKConv paper, section 4.2. The first layer's
    weights start uniform in +-1/fan_in, the others in +-sqrt(6/fan_in)/omega_0. `bias_init` is
    None (PyTorch's default), `zero`, or `uniform` (in [-1, 1]).
    """

    scale_bias = True

    def __init__(
        self,
        dim: int,
        out_channels: int,
        no_hidden: int = 32,
        no_layers: int = 3,
        omega_0: float = 30.0,
        learn_omega_0: bool = False,
        weight_norm: bool = False,
        bias_init: str | None = None,
    ) -> None:
        super().__init__(dim)
        widths = [dim] + [no_hidden] * (no_layers - 1)
        self.layers = nn.ModuleList(
            SineLayer(a, b, omega_0, learn_omega_0, weight_norm, self.scale_bias)
            for a, b in zip(widths[:-1], widths[1:])
        )
        self.output = PointwiseLinear(no_hidden, out_channels, weight_norm)
        linears = [*(layer.linear for layer in self.layers), self.output]
        for index, linear in enumerate(linears):
            fan_in = linear.in_features
            linear.init_weight(1 / fan_in if index == 0 else math.sqrt(6 / fan_in) / omega_0)
            if bias_init == "zero":
                nn.init.zeros_(linear.bias)
            elif bias_init == "uniform":
                nn.init.uniform_(linear.bias, -1, 1)

    def hidden(self, positions: Tensor) -> Tensor:
        h = positions
        for layer in self.layers:
            h = layer(h)  # (H, N)
        return h


class nSIREN(SIREN):  # noqa: N801 (the published name)
    """A SIREN whose omega_0 multiplies the weights only, not the biases."""

    scale_bias = False
