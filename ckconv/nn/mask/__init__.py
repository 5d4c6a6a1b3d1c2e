"""The masks that give a FlexConv its learned size: Gaussian, or a decay into the past."""

from __future__ import annotations

from ckconv.nn.mask.base import NOMINAL_SIGMA, UNDER_MASK, Mask
from ckconv.nn.mask.exponential import ExponentialMask
from ckconv.nn.mask.gaussian import FixedGaussianMask, GaussianMask
from ckconv.nn.mask.sigma import MIN_SIGMA, bounded_sigma

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
