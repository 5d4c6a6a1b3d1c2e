"""Random changes of training images: flips, crops, distortions and erased squares, in batches."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from datasets.batches.transforms import Draw


@dataclass(frozen=True)
class Augmentation:
    """Stages on the stored pixels, and stages after normalisation."""

    stored: tuple[nn.Module, ...]
    normalised: tuple[nn.Module, ...] = ()


class FlipCrop(nn.Module):
    """A horizontal flip for every second image and a crop at a random place of the padded image.

    The image (B, C, H, W) is padded with black by `padding` pixels on each side; the crop has the
    image's own size. In distribution as torchvision's RandomCrop and RandomHorizontalFlip.
    """

    def __init__(self, padding: int):
        super().__init__()
        self.padding = padding

    def forward(self, x: Tensor, draw: Draw) -> Tensor:
        batch, channels, height, width = x.shape
        padded = functional.pad(x, (self.padding,) * 4)  # (B, C, H + 2p, W + 2p)
        flip, top, left = draw.uniform(3).unbind(1)  # (B,) each
        shifts = 2 * self.padding + 1
        rows = torch.arange(height, device=x.device)
        columns = torch.arange(width, device=x.device)
        columns = torch.where(flip[:, None] < 0.5, columns.flip(0), columns)  # (B, W)
        rows = rows + (top * shifts).long().clamp_(max=shifts - 1)[:, None]  # (B, H)
        columns = columns + (left * shifts).long().clamp_(max=shifts - 1)[:, None]
        pixels = rows[:, :, None] * padded.shape[3] + columns[:, None, :]  # (B, H, W)
        pixels = pixels.view(batch, 1, -1).expand(-1, channels, -1)
        return padded.flatten(2).gather(2, pixels).view(x.shape)


class DigitDistortion(nn.Module):
    """A rotation, a shift and a smaller scale, each for every second image of (B, C, H, W).

    In this order: up to `degrees` either way, whole pixels up to `shift` per axis, a factor from
    `smallest` to 1. Each takes the nearest pixel, black outside, as torchvision's RandomRotation
    and RandomAffine do on Pillow's images.
    """

    def __init__(self, degrees: float = 30.0, shift: float = 2.0, smallest: float = 0.75):
        super().__init__()
        self.degrees, self.shift, self.smallest = degrees, shift, smallest

    def forward(self, x: Tensor, draw: Draw) -> Tensor:
        turns, moves, shrinks, *numbers = draw.uniform(7).double().unbind(1)  # (B,) each
        turn, right, down = (2 * number - 1 for number in numbers[:3])  # in [-1, 1)
        chosen = [(chance < 0.5).double() for chance in (turns, moves, shrinks)]
        angle = turn * math.radians(self.degrees) * chosen[0]
        right, down = (torch.round(m * self.shift) * chosen[1] for m in (right, down))
        scale = 1 - (1 - self.smallest) * numbers[3] * chosen[2]
        zero, one = torch.zeros_like(scale), torch.ones_like(scale)
        x = _nearest(x, angle.cos(), -angle.sin(), zero, angle.sin(), angle.cos(), zero)
        x = _nearest(x, one, zero, -right, zero, one, -down)
        return _nearest(x, 1 / scale, zero, zero, zero, 1 / scale, zero)


def _nearest(x: Tensor, *matrix: Tensor) -> Tensor:
    """Each pixel of (B, C, H, W) from another place: the 2 x 3 `matrix`, row by row, (B,) each,
    times (column, row, 1) as counted from the image's centre; black from outside.
    """
    height, width = x.shape[2:]
    v = torch.arange(height, device=x.device).double()[:, None] + 0.5 - height / 2  # (H, 1)
    u = torch.arange(width, device=x.device).double() + 0.5 - width / 2  # (W,)
    xx, xy, right, yx, yy, down = (number[:, None, None] for number in matrix)  # (B, 1, 1)
    columns = (xx * u + xy * v + right + width / 2).floor().long()  # (B, H, W)
    rows = (yx * u + yy * v + down + height / 2).floor().long()
    inside = (columns >= 0) & (columns < width) & (rows >= 0) & (rows < height)
    pixels = (rows * width + columns).masked_fill(~inside, 0).flatten(1)[:, None]  # (B, 1, H * W)
    found = x.flatten(2).gather(2, pixels.expand(-1, x.shape[1], -1)).view(x.shape)
    return found.masked_fill(~inside[:, None], 0)


class RandomErasing(nn.Module):
    """With probability `chance` a square of `area`, a part of the image's, becomes zero.

    It lies anywhere inside the image (B, C, H, W), as torchvision's does (Zhong et al., 2020).
    """

    def __init__(self, area: float, chance: float = 0.5):
        super().__init__()
        self.area, self.chance = area, chance

    def forward(self, x: Tensor, draw: Draw) -> Tensor:
        height, width = x.shape[2:]
        chance, *places = draw.uniform(3).unbind(1)  # (B,) each
        side = round(math.sqrt(self.area * height * width))
        top, left = (
            (place * (length - side + 1)).long().clamp_(max=length - side)
            for place, length in zip(places, (height, width))
        )
        return _erased(x, top, left, side, chance < self.chance)


class Cutout(nn.Module):
    """A square of `side` pixels around any pixel, cut at the border, becomes zero.

    Of images (B, C, H, W) (DeVries and Taylor, 2017).
    """

    def __init__(self, side: int):
        super().__init__()
        self.side = side

    def forward(self, x: Tensor, draw: Draw) -> Tensor:
        top, left = (
            (place * length).long().clamp_(max=length - 1) - self.side // 2
            for place, length in zip(draw.uniform(2).unbind(1), x.shape[2:])
        )
        return _erased(x, top, left, self.side, torch.ones_like(top, dtype=torch.bool))


def _erased(x: Tensor, top: Tensor, left: Tensor, side: int, chosen: Tensor) -> Tensor:
    rows = torch.arange(x.shape[2], device=x.device) - top[:, None]  # (B, H)
    columns = torch.arange(x.shape[3], device=x.device) - left[:, None]  # (B, W)
    inside_rows = (rows >= 0) & (rows < side) & chosen[:, None]
    inside_columns = (columns >= 0) & (columns < side)
    return x.masked_fill(inside_rows[:, None, :, None] & inside_columns[:, None, None, :], 0)
