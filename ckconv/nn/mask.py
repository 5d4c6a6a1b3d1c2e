"""The Gaussian mask that gives a FlexConv its learned size."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from ckconv.config import MaskConfig

# Under twice this, sigma is bent away from zero. The finest kernels in the papers, of 16,000
# samples, have a step of 1.25e-4: a mask this narrow keeps a single sample.
MIN_SIGMA = 1e-4


def bounded_sigma(sigma: Tensor) -> Tensor:
    """Sigma where it is ordinary, and a positive number close to zero where it is not.

    From 2 m upwards, m = `MIN_SIGMA`, this is the identity. Below it is `m + m^2 / (3m - sigma)`,
    which joins smoothly, stays over m whatever an optimizer does to sigma, and falls off slowly
    enough that a negative sigma still receives a gradient that brings it back.
    """
    m = MIN_SIGMA
    low = sigma.clamp(max=2 * m)  # keeps the branch that is not taken finite
    return torch.where(sigma >= 2 * m, sigma, m + m * m / (3 * m - low))


class GaussianMask(nn.Module):
    """`exp(-1/2 sum_d ((x_d - mean_d) / sigma_d)^2)`, mean and sigma learned.

    FlexConv paper, equation 2. Positions are on [-1, 1] per axis. In 2-D the mean starts at the
    centre, 0; in 1-D, where the convolution is causal, at the most recent sample, 1.

    Args:
        dim: 1 or 2.
        init_value: initial sigma of every axis.
        threshold: mask value under which positions are cropped.
        dynamic_cropping: whether they are.
    """

    learning_rate_groups: ClassVar[dict[str, str]] = {"mean": "mask", "sigma": "mask"}

    def __init__(
        self,
        dim: int,
        init_value: float = MaskConfig.init_value,
        threshold: float = MaskConfig.threshold,
        dynamic_cropping: bool = MaskConfig.dynamic_cropping,
    ) -> None:
        super().__init__()
        self.mean = nn.Parameter(torch.full((dim,), 1.0 if dim == 1 else 0.0))
        self.sigma = nn.Parameter(torch.full((dim,), float(init_value)))
        self.threshold, self.dynamic_cropping = threshold, dynamic_cropping

    @classmethod
    def build(cls, cfg: MaskConfig, dim: int) -> GaussianMask:
        """The mask that `cfg` describes."""
        return cls(dim, cfg.init_value, cfg.threshold, cfg.dynamic_cropping)

    @property
    def effective_sigma(self) -> Tensor:
        """The sigma that is used, (dim,): positive, whatever the parameter's value."""
        return bounded_sigma(self.sigma)

    def forward(self, axes: Sequence[Tensor]) -> Tensor:
        """The mask on the grid that `axes`, one vector of positions per axis, span: (*size)."""
        sigma = self.effective_sigma
        mask = None
        for d, axis in enumerate(axes):
            factor = torch.exp(-0.5 * ((axis - self.mean[d]) / sigma[d]).square())
            mask = factor if mask is None else mask[..., None] * factor
        return mask

    @torch.no_grad()
    def crop(self, size: Sequence[int]) -> tuple[tuple[int, int], ...]:
        """Per axis the range (start, stop) of samples whose mask is not under the threshold.

        In 2-D the crop is symmetric about the centre, by the farther of the two roots, so that
        the kernel stays odd and centred; in 1-D only the past is cropped. At least one sample is
        always kept. All of them are where the mask does not crop.
        """
        if not self.dynamic_cropping:
            return tuple((0, n) for n in size)
        mean, sigma = torch.stack((self.mean, self.effective_sigma)).double().tolist()
        return crop_ranges(size, mean, sigma, self.threshold)

    @torch.no_grad()
    def widen(self, size: Sequence[int]) -> None:
        """Make a new mask that would keep a single sample along an axis at least a step wide.

        The mask is 1 at its centre whatever sigma is: a kernel cropped to that sample would leave
        sigma without a gradient for ever. It happens with small images, where a sigma of 0.075 is
        less than half a step.
        """
        for axis, (n, (start, stop)) in enumerate(zip(size, self.crop(size))):
            if n > 1 and stop - start == 1:
                self.sigma[axis].clamp_(min=2 / (n - 1))

    def extra_repr(self) -> str:
        return f"dim={self.mean.numel()}, threshold={self.threshold}"


MASKS = {"gaussian": GaussianMask}  # by their names in `mask.type`


def crop_ranges(
    size: Sequence[int], mean: Sequence[float], sigma: Sequence[float], threshold: float
) -> tuple[tuple[int, int], ...]:
    """The ranges of `GaussianMask.crop`, from plain numbers."""
    reach = math.sqrt(-2 * math.log(threshold))  # where the mask crosses the threshold, in sigmas
    ranges = []
    for n, m, s in zip(size, mean, sigma):
        if not math.isfinite(m + s):
            ranges.append((0, n))  # training has diverged: leave the report to the loss
        elif len(size) == 1:
            start = math.ceil((m - reach * s + 1) * (n - 1) / 2)
            ranges.append((min(max(start, 0), n - 1), n))
        else:
            drop = math.ceil((1 - abs(m) - reach * s) * (n - 1) / 2)
            drop = min(max(drop, 0), (n - 1) // 2)
            ranges.append((drop, n - drop))
    return tuple(ranges)
