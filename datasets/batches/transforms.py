"""From stored samples to what the network sees, a batch at a time, on the device.

A stage is a module called as `stage(x, draw)`. Stages run in the order in which they stand in a
`Pipeline`: augmentation first, on the stored pixels (padding is black, as published), then any
stage that resamples images, then normalisation, then what makes a sequence of an image.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as functional
from torch import Tensor, nn


class Draw:
    """Random numbers for the samples of one batch.

    They are drawn for the whole batch, `total` samples over all processes, and `own` are this
    process's: how many processes there are does not change what a sample gets.
    """

    def __init__(self, generator: torch.Generator, total: int, own: slice):
        self.generator, self.total, self.own = generator, total, own

    def uniform(self, columns: int) -> Tensor:
        """Numbers from [0, 1), `columns` for each of this process's samples."""
        generator = self.generator
        numbers = torch.rand(self.total, columns, generator=generator, device=generator.device)
        return numbers[self.own]  # (B, columns)


class Pipeline(nn.Module):
    """Stages in a row."""

    def __init__(self, *stages: nn.Module):
        super().__init__()
        self.stages = nn.ModuleList(stages)

    def forward(self, x: Tensor, draw: Draw) -> Tensor:
        for stage in self.stages:
            x = stage(x, draw)
        return x

    def then(self, *stages: nn.Module) -> Pipeline:
        """A pipeline of these stages and `stages` after them."""
        return Pipeline(*self.stages, *stages)


class Gather(nn.Module):
    """The first stage of a pipeline whose samples are indices (B,) of `pixels` (N, C, H, W)."""

    def __init__(self, pixels: Tensor):
        super().__init__()
        self.register_buffer("pixels", pixels, persistent=False)

    def forward(self, x: Tensor, draw: Draw) -> Tensor:
        return self.pixels.index_select(0, x)  # (B, C, H, W)


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
    """A small random rotation, shift and change of scale, then random erasing, of (B, C, H, W).

    Up to `degrees` either way; up to `shift` of the side; a factor of 1 +- `scale`; bilinear, with
    black outside. With probability `erase` a rectangle of `area` of the image and of a side ratio
    between 0.3 and 3.3 turns black (Zhong et al., 2020).
    """

    def __init__(
        self,
        degrees: float = 10.0,
        shift: float = 0.1,
        scale: float = 0.1,
        erase: float = 0.5,
        area: tuple[float, float] = (0.02, 0.2),
    ):
        super().__init__()
        self.degrees, self.shift, self.scale = degrees, shift, scale
        self.erase, self.area = erase, area

    def forward(self, x: Tensor, draw: Draw) -> Tensor:
        return self._erase(self._move(x.float(), draw), draw)

    def _move(self, x: Tensor, draw: Draw) -> Tensor:
        turn, right, down, grow = (2 * draw.uniform(4) - 1).unbind(1)  # (B,) each, in [-1, 1)
        angle = turn * math.radians(self.degrees)
        zoom = 1 / (1 + grow * self.scale)
        cosine, sine = zoom * angle.cos(), zoom * angle.sin()
        shift = 2 * self.shift * torch.stack([right, down], 1)  # of the grid's [-1, 1]
        rotation = torch.stack([cosine, -sine, sine, cosine], 1).view(-1, 2, 2)
        theta = torch.cat([rotation, shift[:, :, None]], 2)  # (B, 2, 3)
        grid = functional.affine_grid(theta, list(x.shape), align_corners=False)
        return functional.grid_sample(x, grid, align_corners=False)

    def _erase(self, x: Tensor, draw: Draw) -> Tensor:
        height, width = x.shape[2:]
        chance, size, ratio, top, left = draw.uniform(5).unbind(1)  # (B,) each
        area = height * width * (self.area[0] + size * (self.area[1] - self.area[0]))
        ratio = torch.exp(math.log(0.3) + ratio * math.log(3.3 / 0.3))
        tall = (area * ratio).sqrt().clamp(max=height)
        wide = (area / ratio).sqrt().clamp(max=width)
        rows = torch.arange(height, device=x.device) - (top * (height - tall))[:, None]  # (B, H)
        columns = torch.arange(width, device=x.device) - (left * (width - wide))[:, None]
        inside_rows = (rows >= 0) & (rows < tall[:, None]) & (chance < self.erase)[:, None]
        inside_columns = (columns >= 0) & (columns < wide[:, None])
        inside = inside_rows[:, None, :, None] & inside_columns[:, None, None, :]  # (B, 1, H, W)
        return x.masked_fill(inside, 0.0)


class Normalise(nn.Module):
    """Pixels of 0 to `scale`, (B, C, H, W), to (pixel / scale - mean) / std per channel."""

    def __init__(self, mean: Sequence[float], std: Sequence[float], scale: float = 255.0):
        super().__init__()
        self.scale = scale
        self.register_buffer("mean", torch.tensor(mean).view(-1, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(-1, 1, 1))

    def forward(self, x: Tensor, draw: Draw) -> Tensor:
        return (x.float() / self.scale).sub_(self.mean).div_(self.std)


class Flatten(nn.Module):
    """An image (B, C, H, W) read row by row: a sequence (B, C, H * W)."""

    def forward(self, x: Tensor, draw: Draw) -> Tensor:
        return x.flatten(2)


class Permute(nn.Module):
    """The steps of a sequence (B, C, L) in the order `order` (L,)."""

    def __init__(self, order: Tensor):
        super().__init__()
        self.register_buffer("order", order)

    def forward(self, x: Tensor, draw: Draw) -> Tensor:
        return x.index_select(2, self.order)


class RowsThenNoise(nn.Module):
    """An image (B, C, H, W) as H steps of C * W channels, then the steps of `noise` (C * W, L)."""

    def __init__(self, noise: Tensor):
        super().__init__()
        self.register_buffer("noise", noise)

    def forward(self, x: Tensor, draw: Draw) -> Tensor:
        rows = x.transpose(2, 3).flatten(1, 2)  # (B, C * W, H)
        return torch.cat([rows, self.noise.expand(len(x), -1, -1)], 2)


class EveryNth(nn.Module):
    """Every `n`-th step of a sequence (B, C, L), from the first on: (B, C, ceil(L / n))."""

    def __init__(self, n: int):
        super().__init__()
        self.n = n

    def forward(self, x: Tensor, draw: Draw) -> Tensor:
        return x[..., :: self.n].contiguous()


class OneHot(nn.Module):
    """Symbols (B, L) as channels of zeros and ones (B, symbols, L)."""

    def __init__(self, symbols: int):
        super().__init__()
        self.symbols = symbols

    def forward(self, x: Tensor, draw: Draw) -> Tensor:
        symbols = torch.arange(self.symbols, device=x.device)
        return (x[:, None, :] == symbols[:, None]).float()


class ObservationMask(nn.Module):
    """Steps that are NaN in (B, C, L) become zero; a last channel is 1 where a step was observed.

    All channels of a sample lose the same steps.
    """

    def forward(self, x: Tensor, draw: Draw) -> Tensor:
        observed = ~x[:, :1].isnan()  # (B, 1, L)
        return torch.cat([x.nan_to_num(nan=0.0), observed.to(x.dtype)], 1)
