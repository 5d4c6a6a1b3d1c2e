"""What all masks share: a bump of learned width, and the samples that it leaves."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor, nn

from ckconv.config import AUTO, ConvConfig, MaskConfig, time_axis
from ckconv.errors import UsageError
from ckconv.nn.mapped import is_mapped, unwrapped
from ckconv.nn.mask.sigma import bounded_sigma

if TYPE_CHECKING:
    from jaxtyping import Float

UNDER_MASK = 1.667  # sigmas from the middle within which filters' centres start
NOMINAL_SIGMA = 0.075  # of `auto`, before the kernel's size is known
AUTO_SHARE = 0.54  # `auto`: the share of a centred kernel that is kept,
AUTO_SAMPLES = 1.25, 5.25  # at least and at most so many samples on each side: 3 to 11
AUTO_TIME = 0.25  # `auto`: sigma along the axis of time


class Mask(nn.Module):
    """`prod_d profile((x_d - mean_d) / sigma_d)`, a bump of learned width, 1 at its mean.

    Positions are on [-1, 1] per axis. The mean starts at the centre, 0; along the axis of time of
    a causal convolution at the most recent sample, 1. Subclasses say what the profile is, where
    it falls to a threshold, and how wide its spectrum is.

    The bump is 1 at its mean whatever sigma is: cropped to that sample, sigma would have no
    gradient for ever. A mask too narrow to be seen beside its middle sample therefore has the
    gradient of the narrowest one that is, while its values stay what they are: a loss that gains
    by the neighbours widens it, from any sigma.

    Args:
        dim: number of axes.
        init_value: initial sigma, of every axis or one for each; `auto`: half of a centred
            kernel is kept, 3 to 11 samples; along the axis of time 0.25.
        threshold: mask value under which positions are cropped.
        dynamic_cropping: whether they are.
        causal, causal_axis: whether there is an axis of time, and which; as in `ConvConfig`.
    """

    learning_rate_groups: ClassVar[dict[str, str]] = {"mean": "mask", "sigma": "mask"}
    learns_mean: ClassVar[bool] = True

    def __init__(
        self,
        dim: int,
        init_value: float | str | Sequence[float] = MaskConfig.init_value,
        threshold: float = MaskConfig.threshold,
        dynamic_cropping: bool = MaskConfig.dynamic_cropping,
        causal: bool | None = ConvConfig.causal,
        causal_axis: int = ConvConfig.causal_axis,
    ) -> None:
        super().__init__()
        self.causal_axis = time_axis(causal, causal_axis, dim)
        mean = torch.zeros(dim)
        if self.causal_axis is not None:
            mean[self.causal_axis] = 1.0
        if self.learns_mean:
            self.mean = nn.Parameter(mean)
        else:
            self.register_buffer("mean", mean)
        self.is_auto = init_value == AUTO
        init_value = NOMINAL_SIGMA if self.is_auto else init_value
        sigma = init_value if isinstance(init_value, Sequence) else (init_value,) * dim
        if len(sigma) != dim:
            raise UsageError(f"sigma={init_value}: give one for all axes or one for each of {dim}")
        self.sigma = nn.Parameter(torch.tensor([float(one) for one in sigma]))
        self.threshold, self.dynamic_cropping = threshold, dynamic_cropping

    @classmethod
    def build(cls, cfg: MaskConfig, dim: int, conv: ConvConfig | None = None) -> Mask:
        """The mask that `cfg` describes, for a convolution as `conv` describes it."""
        conv = conv or ConvConfig()
        shape = cfg.init_value, cfg.threshold, cfg.dynamic_cropping
        return cls(dim, *shape, conv.causal, conv.causal_axis)

    @staticmethod
    def profile(u: Float[Tensor, "*size"]) -> Float[Tensor, "*size"]:
        """The mask so many sigmas from its mean."""
        raise NotImplementedError

    @staticmethod
    def reach(threshold: float) -> float:
        """How many sigmas from its mean the profile falls to `threshold`."""
        raise NotImplementedError

    @staticmethod
    def bandwidth(gauss_stddevs: float) -> float:
        """The angular frequency, times sigma, up to which the profile's spectrum is counted.

        There it has fallen as far as a Gaussian's has after so many standard deviations.
        """
        raise NotImplementedError

    @property
    def effective_sigma(self) -> Float[Tensor, " dim"]:
        """The sigma that is used, (dim,): positive, whatever the parameter's value."""
        return bounded_sigma(self.sigma)

    @property
    def mean_and_sigma(self) -> Float[Tensor, "2 dim"]:
        """Mean and effective sigma, in float32 at least: autocast stacks no other half's."""
        dtype = torch.promote_types(self.sigma.dtype, torch.float32)
        return torch.stack((self.mean.to(dtype), self.effective_sigma.to(dtype)))

    def forward(
        self, axes: Sequence[Float[Tensor, " _"]], alone: Mapping[int, float] | None = None
    ) -> Float[Tensor, "*size"]:
        """The mask on the grid that `axes`, one vector of positions per axis, span: (*size).

        `alone` as in `Grid`.
        """
        sigma, alone = self.effective_sigma, alone or {}
        mask = None
        for d, axis in enumerate(axes):
            factor = self.profile((axis - self.mean[d]) / sigma[d])
            if d in alone:
                factor = self._beside(axis, d, factor, alone[d], 0.0)
            elif not self.dynamic_cropping and len(axis) > 1:
                step = axis[1] - axis[0]
                seen = self._beside(axis, d, factor, step, factor)
                factor = torch.where(sigma[d] * self.reach(self.threshold) < step, seen, factor)
            elif self._is_windowed and len(axis) > 1:
                kept = self._kept(d, len(axis))
                seen = self._beside(axis, d, factor, axis[1] - axis[0], 0.0)
                factor = torch.where(kept.sum() == 1, seen, factor) * kept
            mask = factor if mask is None else mask[..., None] * factor
        return mask

    def _beside(
        self, axis: Tensor, d: int, factor: Tensor, step: Tensor | float, other: Tensor | float
    ) -> Tensor:
        """`factor` with the gradient of a mask that is seen beside the middle sample.

        So is the middle's value, if it is larger: a mean may have left that sample. Beside it the
        values are `other`. A mask that is over the threshold there stays as it is; so does a mean
        within a step of the middle, which would drift away before sigma is seen.
        """
        middle = len(axis) - 1 if d == self.causal_axis else len(axis) // 2
        with torch.no_grad():
            away = (axis[middle] - self.mean[d]).abs()
            wide = ((away + step) / self.reach(self.threshold)).maximum(self.effective_sigma[d])
        sigma = self.sigma[d] + (wide - self.sigma[d]).detach()
        mean = torch.where(away > step, self.mean[d], self.mean[d].detach())
        seen = self.profile((axis - mean) / sigma)
        with torch.no_grad():
            is_middle = axis == axis[middle]
            value = torch.where(is_middle, torch.maximum(factor, seen), other)
        return value + (seen - seen.detach())

    def unseen(
        self, functions: Float[Tensor, " H *size"], weighting: Float[Tensor, "*size"]
    ) -> Float[Tensor, " H *size"]:
        """Zeros, by whose gradient a generator learns where a wider mask would show it."""
        return self.threshold * (weighting == 0) * (functions - functions.detach())

    @torch.no_grad()
    def crop(self, size: Sequence[int]) -> tuple[tuple[int, int], ...]:
        """Per axis the range (start, stop) of samples whose mask is not under the threshold.

        Symmetric about the centre, by the farther of the two roots, so that the kernel stays odd
        and centred; along the axis of time only the past is cropped. At least one sample is
        always kept. All of them are where the mask does not crop, or has no numbers (`meta`).
        """
        if not self.dynamic_cropping or self.sigma.is_meta or self._is_windowed:
            return tuple((0, n) for n in size)
        if is_mapped(self.sigma) or is_mapped(self.mean):
            raise ValueError(
                "masks of several layers crop their kernels to several sizes, which cannot be "
                "mapped as one: set mask.dynamic_cropping=False, as in FlexConv2d(..., "
                "mask=MaskConfig(dynamic_cropping=False)), or layer.mask.dynamic_cropping = False"
            )
        mean, sigma = unwrapped(self.mean_and_sigma).tolist()
        return self.ranges(size, mean, sigma)

    def ranges(
        self, size: Sequence[int], mean: Sequence[float], sigma: Sequence[float]
    ) -> tuple[tuple[int, int], ...]:
        """The ranges of `crop`, from plain numbers."""
        reach = self.reach(self.threshold)
        ranges = []
        for axis, (n, m, s) in enumerate(zip(size, mean, sigma)):
            if not math.isfinite(m + s):
                ranges.append((0, n))  # training has diverged: leave the report to the loss
            elif self._is_unseen(n, m, s):
                middle = n - 1 if axis == self.causal_axis else (n - 1) // 2
                ranges.append((middle, n if axis == self.causal_axis else n - middle))
            elif axis == self.causal_axis:
                start = int(self.first_kept((m - reach * s + 1) * (n - 1) / 2))
                ranges.append((min(max(start, 0), n - 1), n))
            else:
                drop = math.ceil((1 - abs(m) - reach * s) * (n - 1) / 2)
                drop = min(max(drop, 0), (n - 1) // 2)
                ranges.append((drop, n - drop))
        return tuple(ranges)

    @property
    def _is_windowed(self) -> bool:
        """Whether zeros stand for what is cropped: in compiled evaluations.

        Compiled code cannot read a size from numbers. In training it stops for that.
        """
        return self.dynamic_cropping and not self.training and torch.compiler.is_compiling()

    def _is_unseen(self, n: int, mean: float, sigma: float) -> bool:
        """Whether the mask is over its threshold at none of `n` samples, but between or beyond."""
        at = (mean + 1) * (n - 1) / 2
        away = abs(at - min(max(round(at), 0), n - 1)) * 2 / max(n - 1, 1)
        return away > self.reach(self.threshold) * sigma

    def _kept(self, axis: int, n: int) -> Tensor:
        """One where `ranges` keeps a sample of `n` along an axis, elsewhere zero."""
        m, sigma = self.mean_and_sigma[:, axis]
        at = torch.arange(n).to(sigma)
        centre, wide = (m + 1) * (n - 1) / 2, self.reach(self.threshold) * sigma
        if axis == self.causal_axis:
            middle, first = n - 1, self.first_kept(centre - wide * (n - 1) / 2)
            kept = (at >= first) | (at == middle)
        else:
            middle = (n - 1) // 2
            first = ((1 - m.abs() - wide) * (n - 1) / 2).ceil().clamp(max=middle)
            kept = (at >= first) & (at <= n - 1 - first)
        away = (centre - centre.round().clamp(0, n - 1)).abs() * 2 / (n - 1)
        return torch.where(away > wide, at == middle, kept).to(sigma.dtype)

    @staticmethod
    def first_kept(root: float | Tensor) -> float | Tensor:
        """The first sample that is kept along the axis of time, from where the root is."""
        return -(-root // 1)

    def single_samples(
        self, crop: Sequence[tuple[int, int]], size: Sequence[int]
    ) -> dict[int, float]:
        """The axes that `crop` leaves a single sample of, of several, and their step."""
        return {
            d: 2 / (n - 1)
            for d, (n, (start, stop)) in enumerate(zip(size, crop))
            if self.dynamic_cropping and stop - start == 1 < n
        }

    def with_neighbours(
        self, crop: Sequence[tuple[int, int]], alone: Mapping[int, float]
    ) -> tuple[tuple[int, int], ...]:
        """The ranges of `crop`, along the axes `alone` with the samples beside the single ones."""
        return tuple(
            (start - (d in alone), stop + (d in alone and d != self.causal_axis))
            for d, (start, stop) in enumerate(crop)
        )

    @property
    def is_unfitted(self) -> bool:
        """Whether `auto` still waits for the kernel's size."""
        return self.is_auto and not self.sigma.is_meta and bool((self.sigma == NOMINAL_SIGMA).all())

    @torch.no_grad()
    def fit(self, size: Sequence[int]) -> float:
        """Give a new mask the sigma that `auto` is for kernels of `size`, or `widen` it.

        Returns how many times as far as before filters under the mask may reach.
        """
        if self.sigma.is_meta:  # nothing is drawn there either
            return 1.0
        if not self.is_unfitted:
            self.widen(size)
            return 1.0
        for axis, n in enumerate(size):
            half = max(n - 1, 1) / 2
            kept = min(max(AUTO_SHARE * half, AUTO_SAMPLES[0]), AUTO_SAMPLES[1])
            own = kept / (half * self.reach(self.threshold))
            self.sigma[axis] = AUTO_TIME if axis == self.causal_axis else min(own, 1.0)
        return min(1.0, UNDER_MASK * self.sigma.max().item()) / (UNDER_MASK * NOMINAL_SIGMA)

    @torch.no_grad()
    def widen(self, size: Sequence[int]) -> None:
        """Make a new mask that would keep a single sample along an axis at least a step wide."""
        for axis, (n, (start, stop)) in enumerate(zip(size, self.crop(size))):
            if n > 1 and stop - start == 1:
                self.sigma[axis].clamp_(min=2 / (n - 1))

    def extra_repr(self) -> str:
        return f"dim={self.sigma.numel()}, threshold={self.threshold}"
