"""A mask that decays exponentially, into the past or to both sides."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from ckconv.nn.mask.base import Mask

if TYPE_CHECKING:
    from jaxtyping import Float


class ExponentialMask(Mask):
    """`exp(-sum_d |x_d - mean_d| / sigma_d)`: a decay into the past, to both sides of a centre.

    As the filters of Hyena have it (Poli et al., 2023), here of learned rate. Its mean is fixed.
    Its spectrum falls off slowly, so that its bound is wider than a Gaussian's of the same sigma.
    """

    learning_rate_groups: ClassVar[dict[str, str]] = {"sigma": "mask"}
    learns_mean: ClassVar[bool] = False

    @staticmethod
    def profile(u: Float[Tensor, "*size"]) -> Float[Tensor, "*size"]:
        return torch.exp(-u.abs())

    @staticmethod
    def reach(threshold: float) -> float:
        return -math.log(threshold)

    @staticmethod
    def bandwidth(gauss_stddevs: float) -> float:
        # its spectrum, relative to its peak, is 1 / (1 + w^2); a Gaussian's exp(-w^2 / 2)
        return math.sqrt(math.expm1(gauss_stddevs**2 / 2))
