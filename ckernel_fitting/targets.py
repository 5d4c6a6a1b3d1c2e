"""What is fitted: a function or an image, sampled on a grid of positions on [-1, 1]."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as tf
from torch import Tensor

from ckernel_fitting.images import load_image
from ckernel_fitting.settings import Settings

DEFAULT_SAMPLES = {1: 1000, 2: 33}


@dataclass
class Target:
    """Sampled values and where they lie."""

    name: str
    values: Tensor  # (channels, *size)
    positions: Tensor  # (1, dim, *size), on [-1, 1] per axis
    between: Target | None = None  # the same function halfway between these samples

    @property
    def dim(self) -> int:
        return self.positions.shape[1]

    @property
    def channels(self) -> int:
        return self.values.shape[0]

    @property
    def value_range(self) -> float:
        """Largest minus smallest value; of a constant its size, and 1 where it is zero."""
        spread = (self.values.max() - self.values.min()).item()
        return spread or self.values.abs().max().item() or 1.0


def build_target(settings: Settings) -> Target:
    """Sample the function that `settings` names.

    Raises `UsageError` for images that are missing or unreadable.
    """
    name = settings.function
    label = f"{name} {settings.freq:g}" if name == "Gabor" else name
    if settings.is_image:
        values = load_image(settings)  # (C, H, W)
    else:
        size = (settings.no_samples or DEFAULT_SAMPLES[settings.axes],) * settings.axes
        values = sample_function(settings, grid(size))  # (1, *size)
    between = None
    if not (settings.is_image or name == "Random" or settings.padding):
        halfway = grid(size, halfway=True)
        values_there = sample_function(settings, halfway)
        between = Target(label, values_there.float(), halfway[None].float())
    values = tf.pad(values, [settings.padding] * (2 * settings.axes)).float().contiguous()
    return Target(label, values, grid(values.shape[1:])[None].float(), between)


def grid(size: tuple[int, ...], halfway: bool = False) -> Tensor:
    """Positions of an array's samples on [-1, 1] per axis, ends included: (dim, *size).

    `halfway`: those in the middle between neighbours on every axis, one fewer per axis.
    """
    axes = [torch.linspace(-1, 1, n, dtype=torch.float64) for n in size]
    if halfway:
        axes = [(axis[1:] + axis[:-1]) / 2 for axis in axes]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"))


def sample_function(settings: Settings, positions: Tensor) -> Tensor:
    """The values of an analytic function at positions (dim, *size) on [-1, 1]: (1, *size)."""
    low, high = settings.span
    x = low + (high - low) / 2 * (positions + 1)  # (dim, *size)
    return PATTERNS[settings.function](x, settings)[None]


def along(x: Tensor, settings: Settings) -> Tensor:
    """The coordinate that plane waves run along: x itself, in 2-D in the direction `theta`."""
    if len(x) == 1:
        return x[0]
    angle = math.radians(settings.theta)
    return x[0] * math.cos(angle) + x[1] * math.sin(angle)


def gaussian(x: Tensor, settings: Settings) -> Tensor:
    """A Gaussian in the middle of the range, of height 1."""
    low, high = settings.span
    sigma = settings.sigma * (high - low) / 2
    return torch.exp(-0.5 * ((x - (low + high) / 2) / sigma).square().sum(0))


def sawtooth(x: Tensor, settings: Settings) -> Tensor:
    """Ramps from -1 to 1 of period 2 pi / freq."""
    turns = settings.freq * along(x, settings) / (2 * math.pi)
    return 2 * (turns - turns.floor()) - 1


def sine(x: Tensor, settings: Settings) -> Tensor:
    return torch.sin(settings.freq * along(x, settings))


def gabor(x: Tensor, settings: Settings) -> Tensor:
    """A cosine under a Gaussian, both centred in the middle of the range."""
    middle = sum(settings.span) / 2
    return gaussian(x, settings) * torch.cos(settings.freq * along(x - middle, settings))


def random_values(x: Tensor, settings: Settings) -> Tensor:
    """Independent normal values."""
    generator = torch.Generator().manual_seed(settings.function_seed)
    return torch.randn(x.shape[1:], generator=generator, dtype=x.dtype)


PATTERNS: dict[str, Callable[[Tensor, Settings], Tensor]] = {
    "Gaussian": gaussian,
    "Constant": lambda x, settings: torch.ones_like(x[0]),
    "Linear": along,
    "Sawtooth": sawtooth,
    "Sinus": sine,
    "Sine": sine,
    "SinusChirp": lambda x, settings: torch.sin(x.square().sum(0)),
    "Random": random_values,
    "Gabor": gabor,
}
