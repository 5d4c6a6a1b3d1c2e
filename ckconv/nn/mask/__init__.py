"""The masks that give a FlexConv its learned size: Gaussian, or a decay into the past."""

from __future__ import annotations

from ckconv.nn.mask.base import MIN_SIGMA, NOMINAL_SIGMA, UNDER_MASK, Mask, bounded_sigma
from ckconv.nn.mask.exponential import ExponentialMask
from ckconv.nn.mask.gaussian import FixedGaussianMask, GaussianMask

__all__ = [
    "MASKS",
    "MIN_SIGMA",
    "NOMINAL_SIGMA",
    "UNDER_MASK",
    "ExponentialMask",
    "FixedGaussianMask",
    "GaussianMask",
    "Mask",
    "bounded_sigma",
]

MASKS: dict[str, type[Mask]] = {  # by their names in `mask.type`
    "gaussian": GaussianMask,
    "fixed_gaussian": FixedGaussianMask,
    "exponential": ExponentialMask,
}
