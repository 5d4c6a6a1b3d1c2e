"""Sinusoidal representation networks as kernel generators."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor, nn

from ckconv.config import KernelConfig
from ckconv.nn.ck.base import Generator, PointwiseLinear
from ckconv.nn.ck.mlp import check_depth

if TYPE_CHECKING:
    from jaxtyping import Float


class SineLayer(nn.Module):
    """`sin(omega_0 (W x + b))`; with `scale_bias=False`, nSIREN's `sin(omega_0 W x + b)`."""

    learning_rate_groups: ClassVar[dict[str, str]] = {"omega_0": "omega_0"}

    def __init__(
        self, in_features: int, out_features: int, cfg: KernelConfig, scale_bias: bool
    ) -> None:
        super().__init__()
        self.linear = PointwiseLinear(in_features, out_features, cfg.weight_norm)
        value = torch.full((1,), float(cfg.omega_0))
        if cfg.learn_omega_0:
            self.omega_0 = nn.Parameter(value)
        else:
            self.register_buffer("omega_0", value)
        self.scale_bias = scale_bias

    def forward(self, x: Float[Tensor, "in N"]) -> Float[Tensor, "out N"]:
        both = self.linear().to(x.dtype)  # (out, in + 1)
        weight, bias = self.omega_0 * both[:, :-1], both[:, -1:]
        bias = self.omega_0 * bias if self.scale_bias else bias
        return torch.sin(torch.addmm(bias, weight, x))  # (out, N)


class SIREN(Generator):
    """A SIREN of `no_layers` linear maps, sines after all but the last.

    Sitzmann et al., 2020; as a kernel generator, CKConv paper, section 4.2. The first layer's
    weights start uniform in +-1/fan_in, the others in +-sqrt(6/fan_in)/omega_0. `bias_init` is
    None (PyTorch's default), `zero`, or `uniform` (in [-1, 1]).

    With `init=ckconv` weights start as PyTorch's default for a 1x1 convolution and biases uniform
    in [-1, 1], as in the CKConv code: it applies SIREN's formula to tensors that weight
    normalization overwrites. Such kernels start six times as large.
    """

    sampled_together = True
    frequency_setting = "omega_0"
    scale_bias: ClassVar[bool] = True

    def __init__(
        self,
        dim: int,
        out_channels: int,
        cfg: KernelConfig | None = None,
        centres: float | None = None,
    ) -> None:
        super().__init__(dim)
        cfg = cfg or KernelConfig()
        widths = [dim] + [cfg.no_hidden] * (cfg.no_layers - 1)
        self.layers = nn.ModuleList(
            SineLayer(a, b, cfg, self.scale_bias) for a, b in zip(widths[:-1], widths[1:])
        )
        self.output = PointwiseLinear(cfg.no_hidden, out_channels, cfg.weight_norm)
        linears = [*(layer.linear for layer in self.layers), self.output]
        for index, linear in enumerate(linears):
            fan_in = linear.in_features
            if cfg.init == "siren":
                bound = 1 / fan_in if index == 0 else math.sqrt(6 / fan_in) / cfg.omega_0
                linear.init_weight(bound)
            linear.init_bias(cfg.bias_init or ("uniform" if cfg.init == "ckconv" else None))

    @classmethod
    def check(cls, cfg: KernelConfig) -> None:
        check_depth(cfg)

    def hidden(self, positions: Float[Tensor, "dim N"]) -> Float[Tensor, "H N"]:
        h = positions
        for layer in self.layers:
            h = layer(h)  # (H, N)
        return h


class nSIREN(SIREN):  # noqa: N801 (the published name)
    """A SIREN whose omega_0 multiplies the weights only, not the biases."""

    scale_bias = False


GENERATORS = {"SIREN": SIREN, "nSIREN": nSIREN}
