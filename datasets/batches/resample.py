"""Images at another resolution: the flags `cross_res.resize`, `blur` and what belongs to them.

The order is the published one: blur, flip and crop at the stored size, then resize.
"""

from __future__ import annotations

from cfg.schema import CrossRes

import math
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from ckconv.errors import UsageError
from datasets.batches.transforms import Draw


class Blur(nn.Module):
    """Images (B, C, H, W) of any type under a Gaussian of `sigma` pixels; reflected at the edge.

    Rows, then columns: torchvision's `gaussian_blur` convolves with the square of the bell, refuses
    images that are smaller than it reaches, and rounds to other numbers than those on record.
    """

    def __init__(self, sigma: float):
        super().__init__()
        reach = math.ceil(3 * sigma)
        bell = torch.exp(-0.5 * (torch.arange(-reach, reach + 1) / sigma).square())
        self.register_buffer("bell", bell / bell.sum())

    def forward(self, x: Tensor, draw: Draw) -> Tensor:
        x = _blurred_rows(x.float(), self.bell)
        return _blurred_rows(x.transpose(2, 3), self.bell).transpose(2, 3)  # (B, C, H, W)


def _blurred_rows(x: Tensor, bell: Tensor) -> Tensor:
    width = x.shape[3]
    reach = len(bell) // 2
    kept = min(reach, width - 1)  # a reflection is at most as long as the image
    bell = bell[reach - kept : reach + kept + 1]
    rows = functional.pad(x, (kept, kept, 0, 0), mode="reflect").flatten(0, 2)  # (B C H, W + 2 r)
    blurred = functional.conv1d(rows[:, None], (bell / bell.sum()).view(1, 1, -1))
    return blurred.view(x.shape)


class Resize(nn.Module):
    """Images (B, C, H, W) of any type at another `size`.

    As Pillow does, and so the published code: bilinear interpolation antialiases where it shrinks,
    and the nearest pixel is that nearest to the centre. It is what torchvision's `resize` calls
    too, which would round pixels of 8 bits before they are normalised.
    """

    def __init__(self, size: tuple[int, int], interpolation: str = "bilinear"):
        super().__init__()
        self.size, self.interpolation = size, interpolation

    def forward(self, x: Tensor, draw: Draw) -> Tensor:
        if x.shape[2:] == self.size:
            return x
        if self.interpolation == "nearest":
            return functional.interpolate(x.float(), self.size, mode="nearest-exact")
        return functional.interpolate(x.float(), self.size, mode="bilinear", antialias=True)


@dataclass(frozen=True)
class Resampling:
    """How stored images become others before a network sees them; the defaults leave them alone.

    `size` is the (height, width) that they are resized to; `blur` and `resize_blur` ask for a
    Gaussian of `sigma` pixels, always or where images are resized; of sigma 0 there is none.
    """

    size: tuple[int, int] | None = None
    interpolation: str = "bilinear"
    blur: bool = False
    resize_blur: bool = False
    sigma: float = 1.0

    @classmethod
    def of(cls, flags: CrossRes, size: tuple[int, int] | None = None) -> Resampling:
        """What the flags ask for; `size` takes the place of `cross_res.resize`.

        Raises `UsageError` for a `cross_res.resize` that is no size.
        """
        return cls(
            size or target_size(flags),
            flags.interpolation,
            flags.blur,
            flags.resize_blur,
            flags.resize_blur_sigma,
        )

    def __bool__(self) -> bool:
        """Whether images other than the stored ones are asked for."""
        return bool(self.size or self.blur)

    @property
    def flag(self) -> str:
        """What asks for other images, as on the command line."""
        if self.blur or self.size is None:
            return f"cross_res.blur={self.blur}"
        return "cross_res.resize=" + ",".join(map(str, self.size))

    def of_images(self, stored: tuple[int, int]) -> Resampling:
        """The same for images of a stored size, where that size is no change."""
        return replace(self, size=None) if self.size == stored else self

    def before_augmentation(self) -> list[nn.Module]:
        """The blur, if it is asked for."""
        wanted = self.sigma and (self.blur or (self.resize_blur and self.size))
        return [Blur(self.sigma)] if wanted else []

    def after_augmentation(self) -> list[nn.Module]:
        """The change of size, if it is asked for."""
        return [Resize(self.size, self.interpolation)] if self.size else []


def target_size(flags: CrossRes) -> tuple[int, int] | None:
    """The (height, width) of `cross_res.resize`, None for none.

    Raises `UsageError` for anything but two whole numbers over 0.
    """
    return read_size("cross_res.resize", flags.resize)


def read_size(flag: str, value: str | None) -> tuple[int, int] | None:
    """The (height, width) that a flag gives as `h,w` or `hxw`, None where it is empty.

    Raises `UsageError` for anything but two whole numbers over 0.
    """
    text = str(value or "").strip()
    if not text:
        return None
    parts = [part.strip() for part in text.strip("[]()").replace("x", ",").split(",")]
    if len(parts) != 2 or not all(part.isdecimal() and int(part) for part in parts):
        raise UsageError(f"{flag}={text}: give a height and a width, as 16x16")
    return int(parts[0]), int(parts[1])
