"""Gaussian masks, of learned or of fixed mean."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from ckconv.nn.mask.base import Mask

if TYPE_CHECKING:
    from jaxtyping import Float


class GaussianMask(Mask):
    """`exp(-1/2 sum_d ((x_d - mean_d) / sigma_d)^2)`, mean and sigma learned.

    FlexConv paper, equation 2.
    """

    @staticmethod
    def profile(u: Float[Tensor, "*size"]) -> Float[Tensor, "*size"]:
        return torch.exp(-0.5 * u.square())

    @staticmethod
    def reach(threshold: float) -> float:
        return math.sqrt(-2 * math.log(threshold))

    @staticmethod
    def bandwidth(gauss_stddevs: float) -> float:
        return gauss_stddevs


class FixedGaussianMask(GaussianMask):
    """A Gaussian mask whose mean stays where it starts: only sigma is learned.

    Knigge et al., ICLR 2023. Along the axis of time one more sample is kept, the one before the
    threshold is crossed.
    """

    learning_rate_groups: ClassVar[dict[str, str]] = {"sigma": "mask"}
    learns_mean: ClassVar[bool] = False

    @staticmethod
    def first_kept(root: float | Tensor) -> float | Tensor:
        return root // 1
