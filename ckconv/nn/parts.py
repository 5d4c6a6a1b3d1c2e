"""A layer's settings, and its generator and mask, from whichever form they are given in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ckconv.config import AUTO, ConvConfig, KernelConfig, MaskConfig
from ckconv.errors import UsageError, pick
from ckconv.nn import ck
from ckconv.nn.mask import MASKS, NOMINAL_SIGMA, UNDER_MASK, Mask

KernelLike = KernelConfig | ck.Generator | type[ck.Generator]
MaskLike = MaskConfig | Mask | type[Mask]


@dataclass(frozen=True)
class Settings:
    """What layers are made of, looked at once: `of` raises `UsageError` for what makes none."""

    kernel: KernelLike
    conv: ConvConfig
    mask: MaskLike | None

    @classmethod
    def of(
        cls,
        kernel: KernelLike | Settings | None,
        conv: ConvConfig | None,
        mask: MaskLike | None,
    ) -> Settings:
        """Those of a layer: `kernel` alone where it is settings already, as in a network."""
        if isinstance(kernel, Settings):
            return kernel
        kernel, conv = kernel or KernelConfig(), conv or ConvConfig()
        ConvConfig.check(conv)
        if mask is not None and not isinstance(mask, Mask | type):
            MaskConfig.check(mask)
        if not isinstance(kernel, ck.Generator | type):
            ck.check(kernel)
        return cls(kernel, conv, mask)


def make_generator(
    given: KernelLike, dim: int, values: int, centres: float | None
) -> tuple[ck.Generator, float]:
    """The generator of `values` kernel values per position, and the factor on them.

    Raises `UsageError` for one that was made for something else.
    """
    if isinstance(given, type) and issubclass(given, ck.Generator):
        return given(dim, values, KernelConfig(), centres), 1.0
    if not isinstance(given, ck.Generator):
        make = ck.class_of(given.type)
        return make(dim, values, given, centres), float(given.sampling_rate_norm)
    own = given.output.bias.shape[0]
    if given.dim != dim or own != values:
        raise UsageError(
            f"generator={type(given).__name__} for {given.dim} axes and {own} values: this layer's "
            f"kernel has {dim} axes and in_channels / groups * out_channels = {values} values"
        )
    return given, 1.0


def make_mask(given: MaskLike | None, dim: int, conv: ConvConfig) -> Mask | None:
    """The mask, None where there is none; `UsageError` for one of another number of axes."""
    if isinstance(given, type) and issubclass(given, Mask):
        return given.build(MaskConfig(), dim, conv)
    if isinstance(given, Mask):
        if given.sigma.numel() != dim:
            raise UsageError(f"mask={given}: this layer has {dim} axes")
        return given
    if given is None or not given.use:
        return None
    return pick("mask.type", given.type, MASKS).build(given, dim, conv)


def centres_under(mask: MaskLike | None) -> float | None:
    """Within which distance the centres of a generator's filters start, to be under a mask."""
    if mask is None:
        return None
    if isinstance(mask, Mask):
        widest = mask.sigma.max().item()
    else:
        sigma = MaskConfig.init_value if isinstance(mask, type) else mask.init_value
        sigma = NOMINAL_SIGMA if sigma == AUTO else sigma
        widest = max(sigma) if isinstance(sigma, Sequence) else sigma
    return min(1.0, UNDER_MASK * widest)
