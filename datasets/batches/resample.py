"""Images at another resolution: the flags `cross_res.resize`, `blur` and what belongs to them.

The order is the published one: blur, flip and crop at the stored size, then resize.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from ckconv.errors import UsageError, check_choice
from datasets.batches.transforms import Draw

INTERPOLATIONS = ("bilinear", "nearest")


class Blur(nn.Module):
    """Images (B, C, H, W) of any type under a Gaussian of `sigma` pixels; reflected at the edge."""

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

    Bilinear interpolation weighs the four nearest pixels and no more, as torchvision does on
    tensors without antialiasing: at half the resolution it is the mean of 2 x 2 pixels.
    """

    def __init__(self, size: tuple[int, int], interpolation: str = "bilinear"):
        super().__init__()
        self.size, self.interpolation = size, interpolation

    def forward(self, x: Tensor, draw: Draw) -> Tensor:
        if x.shape[2:] == self.size:
            return x
        return functional.interpolate(x.float(), self.size, mode=self.interpolation)


def target_size(cfg: Any) -> tuple[int, int] | None:
    """The (height, width) of `cross_res.resize`, None for none.

    Raises `UsageError` for anything but two whole numbers over 0.
    """
    text = str(cfg.cross_res.resize or "").strip()
    if not text:
        return None
    parts = [part.strip() for part in text.strip("[]()").split(",")]
    if len(parts) != 2 or not all(part.isdecimal() and int(part) for part in parts):
        raise UsageError(f"cross_res.resize={text}: give a height and a width, as '16,16'")
    return int(parts[0]), int(parts[1])


def check_resampling(cfg: Any) -> None:
    """Raise `UsageError` for resampling flags that cannot be honoured."""
    cross_res = cfg.cross_res
    check_choice("cross_res.interpolation", cross_res.interpolation, INTERPOLATIONS)
    target_size(cfg)
    if not 0 < cross_res.resize_blur_sigma < math.inf:
        raise UsageError(
            f"cross_res.resize_blur_sigma={cross_res.resize_blur_sigma}: give a number over 0"
        )


def is_resampling(cfg: Any) -> bool:
    """Whether the flags ask for images other than the stored ones."""
    return bool(target_size(cfg) or cfg.cross_res.blur)


def before_augmentation(cfg: Any) -> list[nn.Module]:
    """The blur, if it is asked for: always with `blur`, before resizing with `resize_blur`."""
    cross_res = cfg.cross_res
    if cross_res.blur or (cross_res.resize_blur and target_size(cfg)):
        return [Blur(cross_res.resize_blur_sigma)]
    return []


def after_augmentation(cfg: Any) -> list[nn.Module]:
    """The change of size, if it is asked for."""
    size = target_size(cfg)
    return [Resize(size, cfg.cross_res.interpolation)] if size else []
