"""From stored samples to what the network sees, a batch at a time, on the device.

A stage is a module called as `stage(x, draw)`. Stages run in the order in which they stand in a
`Pipeline`: augmentation first, on the stored pixels (padding is black, as published), then any
stage that resamples images, then normalisation, then erasing, then what makes a sequence of an
image.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
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


class Normalise(nn.Module):
    """Samples (B, C, *size) to (sample / scale - mean) / std per channel; `dim` axes of size."""

    def __init__(
        self, mean: Sequence[float], std: Sequence[float], scale: float = 255.0, dim: int = 2
    ):
        super().__init__()
        self.scale = scale
        self.register_buffer("mean", torch.tensor(mean).view(-1, *[1] * dim))
        self.register_buffer("std", torch.tensor(std).view(-1, *[1] * dim))

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
