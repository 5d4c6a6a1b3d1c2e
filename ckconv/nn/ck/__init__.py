"""Kernel generators: networks that map positions on [-1, 1] to the values of a kernel."""

from __future__ import annotations

from ckconv.config import KernelConfig, validate_kernel
from ckconv.nn.ck.base import Generator, PointwiseLinear
from ckconv.nn.ck.magnet import MAGNet, SteerableGaborFilter
from ckconv.nn.ck.mfn import MFN, FourierFilter, FourierNet, GaborFilter, GaborNet
from ckconv.nn.ck.mlp import MLP
from ckconv.nn.ck.siren import SIREN, SineLayer, nSIREN

__all__ = [
    "MFN",
    "MLP",
    "SIREN",
    "FourierFilter",
    "FourierNet",
    "GaborFilter",
    "GaborNet",
    "Generator",
    "MAGNet",
    "PointwiseLinear",
    "SineLayer",
    "SteerableGaborFilter",
    "build",
    "nSIREN",
]


def build(
    cfg: KernelConfig, dim: int, out_channels: int, init_spatial_value: float | None = None
) -> Generator:
    """Make the generator that `cfg` describes: positions (1, dim, *size) -> (1, out, *size).

    `init_spatial_value` takes the place of the configuration's, which FlexConv uses to start the
    filters' centres under its mask. Raises `UsageError` for a configuration that cannot be built.
    """
    validate_kernel(cfg)
    size = {"no_hidden": cfg.no_hidden, "no_layers": cfg.no_layers}
    if cfg.type == "MLP":
        return MLP(
            dim,
            out_channels,
            **size,
            activation=cfg.activ_function,
            norm=cfg.norm,
            weight_norm=cfg.weight_norm,
        )
    if cfg.type in ("SIREN", "nSIREN"):
        return (SIREN if cfg.type == "SIREN" else nSIREN)(
            dim,
            out_channels,
            **size,
            omega_0=cfg.omega_0,
            learn_omega_0=cfg.learn_omega_0,
            weight_norm=cfg.weight_norm,
            bias_init=cfg.bias_init,
        )
    if cfg.type == "Fourier":
        return FourierNet(dim, out_channels, **size)
    centres = cfg.init_spatial_value if init_spatial_value is None else init_spatial_value
    size |= {"input_scale": cfg.input_scale, "init_spatial_value": centres}
    if cfg.type == "Gabor":
        return GaborNet(dim, out_channels, **size)
    return MAGNet(dim, out_channels, **size, steerable=cfg.steerable)
