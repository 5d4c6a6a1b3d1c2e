"""Kernel generators: networks that map positions on [-1, 1] to the values of a kernel."""

from __future__ import annotations

from importlib import import_module

from ckconv import by_path
from ckconv.config import KernelConfig
from ckconv.errors import UsageError, pick
from ckconv.nn.ck.base import Generator, PointwiseLinear
from ckconv.nn.ck.magnet import CCNN, MAGNet, SteerableGaborFilter
from ckconv.nn.ck.mfn import MFN, FourierFilter, FourierNet, GaborFilter, GaborNet
from ckconv.nn.ck.mlp import MLP
from ckconv.nn.ck.siren import SIREN, SineLayer, nSIREN

__all__ = [
    "GENERATORS",
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
    "check",
    "class_of",
    "nSIREN",
]

FILES = ("mlp", "siren", "mfn", "magnet")  # each names the generators that it holds

GENERATORS: dict[str, type[Generator]] = {  # by their names in `kernel.type`
    name: kind
    for file in FILES
    for name, kind in import_module(f"{__name__}.{file}").GENERATORS.items()
}


def check(cfg: KernelConfig) -> None:
    """Raise `UsageError`, naming the setting, for a generator that cannot be built."""
    KernelConfig.check(cfg)
    kind = class_of(cfg.type)
    if cfg.init == CCNN and not issubclass(kind, MAGNet):
        raise UsageError(f"kernel.init={CCNN}: not with kernel.type={cfg.type}; use MAGNet")
    kind.check(cfg)


def class_of(name: str) -> type[Generator]:
    """The generator of a name in `GENERATORS`, or a class of one's own, `package.module:Name`.

    Raises `UsageError` where there is none, and for a class that is no `Generator`.
    """
    if not by_path.is_path(name):
        return pick("kernel.type", name, GENERATORS)
    found = by_path.find("kernel.type", name)
    if not (isinstance(found, type) and issubclass(found, Generator)):
        raise UsageError(f"kernel.type={name}: is no class that inherits ckconv.nn.ck.Generator")
    return found


def build(
    cfg: KernelConfig, dim: int, out_channels: int, init_spatial_value: float | None = None
) -> Generator:
    """Make the generator that `cfg` describes: positions (1, dim, *size) -> (1, out, *size).

    `init_spatial_value` takes the place of the configuration's, which FlexConv uses to start the
    filters' centres under its mask. Raises `UsageError` for a configuration that cannot be built.
    """
    check(cfg)
    return class_of(cfg.type)(dim, out_channels, cfg, init_spatial_value)
