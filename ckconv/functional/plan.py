"""How a spectral convolution is cut into transforms, and what it is expected to cost."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch.nn.functional as F
from scipy.fft import next_fast_len
from torch import Tensor


@dataclass(frozen=True)
class Frames:
    """Transforms of length `lengths` per axis that together give `out` samples per axis.

    A sequence may be cut into `count` overlapping frames that give `step` samples each
    (overlap-save); images are one frame.
    """

    lengths: tuple[int, ...]
    before: tuple[int, ...]
    out: tuple[int, ...]
    count: int = 1
    step: int = 0

    def split(self, x: Tensor) -> Tensor:
        """(B, C, *size) -> (B, J, C, *lengths), padded with zeros."""
        if self.count > 1:
            span = (self.count - 1) * self.step + self.lengths[0]
            padded = F.pad(x, (self.before[0], span - x.shape[2] - self.before[0]))
            return padded.unfold(2, self.lengths[0], self.step).transpose(1, 2)
        sides = []
        for n, length, before in zip(x.shape[:1:-1], self.lengths[::-1], self.before[::-1]):
            sides += [before, length - n - before]
        return F.pad(x, sides).unsqueeze(1)

    def join(self, y: Tensor) -> Tensor:
        """(B, J, O, *lengths) -> (B, O, *out)."""
        if self.count > 1:
            return y[..., : self.step].transpose(1, 2).flatten(2)[..., : self.out[0]]
        return y[(slice(None), 0, slice(None), *(slice(0, n) for n in self.out))]


def plan_frames(
    x_shape: Sequence[int],
    kernel_shape: Sequence[int],
    pad: Sequence[tuple[int, int]],
    functions: int,
    device: str,
) -> Frames:
    """The cheapest way to convolve x (B, C, *size) with a kernel (O, C, *k)."""
    return _plan(tuple(x_shape), tuple(kernel_shape), tuple(pad), functions, device)


@lru_cache(maxsize=4096)
def _plan(x_shape: tuple, kernel_shape: tuple, pad: tuple, functions: int, device: str) -> Frames:
    size, kernel_size = x_shape[2:], kernel_shape[2:]
    out = tuple(n + a + b - k + 1 for n, k, (a, b) in zip(size, kernel_size, pad))
    before = tuple(a for a, _ in pad)
    whole = Frames(transform_lengths(size, kernel_size, pad), before, out)
    candidates = [whole]
    if len(size) == 1:
        k, length = kernel_size[0], 64
        while length < whole.lengths[0]:
            step = length - k + 1
            if step >= length // 4:
                count = math.ceil(out[0] / step)
                candidates.append(Frames((length,), before, out, count, step))
            length *= 2
    cost = CostModel(device)
    return min(candidates, key=lambda f: cost.spectral(x_shape, kernel_shape, f, functions))


def transform_lengths(
    size: Sequence[int], kernel_size: Sequence[int], pad: Sequence[tuple[int, int]]
) -> tuple[int, ...]:
    """The smallest fast transform lengths that keep wrapped samples out of the output.

    With `before` zeros in front of n samples, output t reads up to position t + k - 1. What lies
    past the transform's length wraps into those leading zeros, which may be shared with the
    trailing ones: n + before is enough for the input, out + k - 1 - before for the output.
    """
    lengths = []
    for n, k, (before, after) in zip(size, kernel_size, pad):
        out = n + before + after - k + 1
        lengths.append(next_fast_len(max(n + before, out + k - 1 - before, out, k), real=True))
    return tuple(lengths)


@dataclass(frozen=True)
class CostModel:
    """Expected seconds of a forward and backward pass, from counts of operations.

    The rates are fits to measurements; see `benchmarks/README.md`. They decide between ways to
    compute the same numbers, so only their ratios matter.
    """

    device: str = "cpu"

    def spectral(
        self, x_shape: Sequence[int], kernel_shape: Sequence[int], frames: Frames, functions: int
    ) -> float:
        """A factored kernel's spectral convolution."""
        batch, channels = x_shape[:2]
        out = kernel_shape[0]
        rows = batch * frames.count
        n = math.prod(frames.lengths)
        freq = math.prod(frames.lengths[:-1]) * (frames.lengths[-1] // 2 + 1)
        transform = (rows * (channels + out) + functions) * n * math.log2(n)
        move = freq * 2 * rows * (channels + out)
        mix = freq * 4 * rows * channels * out
        write = freq * 2 * functions * channels * out
        rate = _RATES[self.device if self.device in _RATES else "cpu"]
        return (
            transform * rate["fft"]
            + move * rate["move"]
            + mix * rate["mix"]
            + write * rate["write"]
            + rate["spectral_start"]
        )

    def direct(
        self,
        x_shape: Sequence[int],
        kernel_shape: Sequence[int],
        out: Sequence[int],
        functions: int,
    ) -> float:
        """A direct convolution, its kernel written out first."""
        taps = math.prod(kernel_shape)
        rate = _RATES[self.device if self.device in _RATES else "cpu"]
        multiply = x_shape[0] * math.prod(out) * taps
        return multiply * rate["direct"] + taps * functions * rate["write"] + rate["direct_start"]


_RATES = {
    "cpu": {
        "fft": 1e-10,
        "move": 1e-9,
        "mix": 6e-11,
        "write": 6e-11,
        "spectral_start": 5e-4,
        "direct": 6e-11,
        "direct_start": 2e-4,
    },
}
