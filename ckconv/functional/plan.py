"""How a spectral convolution is cut into transforms, and what it is expected to cost."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch.nn.functional as F
from scipy.fft import next_fast_len
from torch import Tensor

from ckconv.functional.ways import current


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
    """The cheapest way to convolve x (B, C, *size) with a kernel (O, C, *k).

    Raises `ValueError` where `using(frames=...)` asks for frames that are shorter than the kernel.
    """
    frame = current().frames
    return _plan(tuple(x_shape), tuple(kernel_shape), tuple(pad), functions, device, frame)


@lru_cache(maxsize=4096)
def _plan(
    x_shape: tuple, kernel_shape: tuple, pad: tuple, functions: int, device: str, frame: int | None
) -> Frames:
    size, kernel_size = x_shape[2:], kernel_shape[2:]
    out = tuple(n + a + b - k + 1 for n, k, (a, b) in zip(size, kernel_size, pad))
    before = tuple(a for a, _ in pad)
    whole = Frames(transform_lengths(size, kernel_size, pad), before, out)
    if len(size) > 1 or frame == 0:
        return whole
    if frame is not None:
        return _cut(whole, frame, kernel_size[0])
    candidates, length = [whole], 64
    while length < whole.lengths[0]:
        if length - kernel_size[0] + 1 >= length // 4:
            candidates.append(_cut(whole, length, kernel_size[0]))
        length *= 2
    cost = CostModel(device)
    return min(candidates, key=lambda f: cost.spectral(x_shape, kernel_shape, f, functions))


def _cut(whole: Frames, length: int, kernel_size: int) -> Frames:
    """The same in frames of `length`."""
    step = length - kernel_size + 1
    if step < 1:
        raise ValueError(
            f"frames={length}: a kernel of {kernel_size} samples needs transforms at least as long"
        )
    return Frames((length,), whole.before, whole.out, math.ceil(whole.out[0] / step), step)


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


def rates(device: str) -> dict[str, float]:
    """Seconds per operation, by its kind; an unknown device is taken for a CPU."""
    return _RATES.get(device, _RATES["cpu"])


@dataclass(frozen=True)
class CostModel:
    """Expected seconds of a forward and backward pass, from counts of operations.

    The rates are fits by `benchmarks/calibrate.py`. They decide between ways to compute the same
    numbers, so only their ratios matter; and they are fixed, so that a run can be repeated.
    """

    device: str = "cpu"

    def spectral(self, *shapes: object) -> float:
        """A factored kernel's spectral convolution; arguments as for `spectral_counts`."""
        return self.seconds(self.spectral_counts(*shapes))

    def direct(self, *shapes: object) -> float:
        """A direct convolution; arguments as for `direct_counts`."""
        return self.seconds(self.direct_counts(*shapes))

    def spectral_counts(
        self, x_shape: Sequence[int], kernel_shape: Sequence[int], frames: Frames, functions: int
    ) -> dict[str, float]:
        """Operations of each kind for x (B, C, *size) and a kernel (O, C, *k) of H functions."""
        batch, channels = x_shape[:2]
        out = kernel_shape[0]
        rows = batch * frames.count
        n = math.prod(frames.lengths)
        freq = math.prod(frames.lengths[:-1]) * (frames.lengths[-1] // 2 + 1)
        lines = sum(n / length for length in frames.lengths)  # 1-D transforms in one of n samples
        return {
            "line": rows * (channels + out) * lines,
            "move": freq * 2 * rows * (channels + out),
            "mix": freq * 4 * rows * channels * out,
            "write": freq * 2 * max(functions, 1) * channels * out,
            "sample": n,
            "spectral_start": 1,
        }

    def direct_counts(
        self,
        x_shape: Sequence[int],
        kernel_shape: Sequence[int],
        pad: Sequence[tuple[int, int]],
        functions: int,
    ) -> dict[str, float]:
        """Operations of each kind of a direct convolution, its kernel written out first."""
        batch, pixels, channels = x_shape[0], math.prod(x_shape[2:]), kernel_shape[:2]
        meetings = math.prod(
            _meetings(n, k, before) if before == after else n * k  # else zeros are written out
            for n, k, (before, after) in zip(x_shape[2:], kernel_shape[2:], pad)
        )
        kind = f"direct{len(pad)}d"
        if len(pad) == 2:
            kind += "_long" if max(kernel_shape[2:]) > _LONGEST_FAST_KERNEL else ""
            channels = [max(c, _FEWEST_CHANNELS) for c in channels]
        return {
            kind: batch * math.prod(channels) * meetings,
            "slide": batch * pixels * sum(channels),
            "write": math.prod(kernel_shape) * functions,
            "direct_start": 1,
        }

    def seconds(self, counts: dict[str, float]) -> float:
        """What operations of each kind cost together."""
        known = rates(self.device)
        return sum(n * known[kind] for kind, n in counts.items())


@lru_cache(maxsize=4096)
def _meetings(n: int, k: int, before: int) -> int:
    """Pairs of a kernel's sample and an input's, padding left out, over all outputs."""
    return sum(max(n - abs(i - before), 0) for i in range(k))


_LONGEST_FAST_KERNEL = 14  # beyond it, PyTorch's 2-D convolutions on a CPU take a slower path
_FEWEST_CHANNELS = 6  # fewer take as long: they do not fill a vector register

# Seconds per operation. The CPU's are a fit to a two-core x86 machine with AVX-512, for images that
# are channels-last. The GPU's are estimates from an H100-class chip's arithmetic, bandwidth and
# launch times, not measurements.
_RATES = {
    "cpu": {
        "line": 2.12e-08,
        "move": 6.98e-09,
        "mix": 2.15e-10,
        "write": 8.37e-11,
        "sample": 9.89e-07,
        "spectral_start": 5.78e-04,
        "direct1d": 8.91e-11,
        "direct2d": 3.55e-11,
        "direct2d_long": 1.26e-10,
        "slide": 1.60e-09,
        "direct_start": 4.69e-04,
    },
    "cuda": {
        "line": 1e-11,
        "move": 1e-11,
        "mix": 3e-13,
        "write": 3e-13,
        "sample": 1e-10,
        "spectral_start": 4e-04,
        "direct1d": 1.2e-12,
        "direct2d": 1.2e-12,
        "direct2d_long": 2.4e-12,
        "slide": 1e-11,
        "direct_start": 8e-05,
    },
}
