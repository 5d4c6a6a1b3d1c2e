"""How a spectral convolution is cut into transforms, and what it is expected to cost."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ckconv.functional.spectral.frames import (
    Frames,
    extended_here,
    remembered,
    shorter_length,
    whole_frames,
)
from ckconv.functional.spectral.tiles import Tiles
from ckconv.functional.ways import current


def plan_frames(
    x_shape: Sequence[int],
    kernel_shape: Sequence[int],
    pad: Sequence[tuple[int, int]],
    functions: int,
    device: str,
    circular: Sequence[int] = (),
) -> Frames:
    """The cheapest way to convolve x (B, C, *size) with a kernel (O, C / groups, *span).

    `span` includes the holes of a dilation. The padding of the axes `circular` is circular.
    Where the frames do not wrap them, it has to be written out. Raises `ValueError` where
    `using(frames=...)` asks for frames that are shorter than the kernel.
    """
    shapes = tuple(x_shape), tuple(kernel_shape), tuple(pad)
    return best_frames(*shapes, functions, device, tuple(circular), current().frames)


@remembered
def best_frames(
    x_shape: tuple,
    kernel_shape: tuple,
    pad: tuple,
    functions: int,
    device: str,
    circular: tuple[int, ...],
    frame: int | None,
) -> Frames:
    """What `plan_frames` gives where frames of length `frame` are asked for; None: of any."""
    fast = shorter_length if is_depthwise(x_shape, kernel_shape) else None
    whole = whole_frames(x_shape[2:], kernel_shape[2:], pad, circular, fast)
    if len(pad) > 1 or frame == 0:
        return whole
    before, extension = whole.before, ()
    if circular:
        ends = extended_here(x_shape[2], pad[0])
        before, extension = ends[:1], (ends,)
    if frame is not None:
        return whole.cut(frame, kernel_shape[2], before, extension)
    candidates = [whole]
    for length in _frame_lengths(whole.lengths[0]):
        if length - kernel_shape[2] + 1 >= length // 4:
            candidates.append(whole.cut(length, kernel_shape[2], before, extension))
    cost = CostModel(device)
    seconds = [cost.spectral(x_shape, kernel_shape, f, functions) for f in candidates]
    return candidates[seconds.index(min(seconds))]


def _frame_lengths(limit: int) -> list[int]:
    """Lengths of fast transforms below `limit`, a fifth apart."""
    lengths = [steps << doublings for doublings in range(4, 30) for steps in (4, 5, 6)]
    return [length for length in lengths if length < limit]


def rates(device: str, kept: bool = False) -> dict[str, float]:
    """Seconds per operation, by its kind; an unknown device is taken for a CPU.

    With `kept` those of direct convolutions are less by what they gain more than spectral ones.
    """
    device = device if device in _RATES else "cpu"
    known = _RATES[device]
    shares = KEPT[device] if kept else {}
    return known | {kind: share * known[kind] for kind, share in shares.items()}


@dataclass(frozen=True)
class CostModel:
    """Expected seconds of a forward and backward pass, from counts of operations.

    The rates are fits by `benchmarks/calibrate.py`. They decide between ways to compute the same
    numbers, so only their ratios matter; and they are fixed, so that a run can be repeated.

    Args:
        device: its type.
        kept: kernels are kept and there is no backward pass, as in evaluation.
    """

    device: str = "cpu"
    kept: bool = False

    def spectral(self, *shapes: object) -> float:
        """A factored kernel's spectral convolution; arguments as for `spectral_counts`."""
        return self.seconds(self.spectral_counts(*shapes))

    def tiled(self, *shapes: object) -> float:
        """The same over tiles; arguments as for `tiled_counts`."""
        return self.seconds(self.tiled_counts(*shapes))

    def direct(self, *shapes: object) -> float:
        """A direct convolution; arguments as for `direct_counts`."""
        return self.seconds(self.direct_counts(*shapes))

    def spectral_counts(
        self, x_shape: Sequence[int], kernel_shape: Sequence[int], frames: Frames, functions: int
    ) -> dict[str, float]:
        """Operations by kind for x (B, C, *size), kernels (O, C / groups, *k) of H functions."""
        batch, channels = x_shape[:2]
        out, per_group = kernel_shape[:2]
        rows = batch * frames.count
        n = math.prod(frames.lengths)
        freq = math.prod(frames.lengths[:-1]) * (frames.lengths[-1] // 2 + 1)
        lines = sum(n / length for length in frames.lengths)  # 1-D transforms in one of n samples
        if is_depthwise(x_shape, kernel_shape):
            return {
                "line": (rows * (channels + out) + out) * lines,
                f"product{len(frames.lengths)}d": freq * 2 * rows * (channels + out),
                "write": math.prod(kernel_shape) * functions,
                "spectral_start": 1,
            }
        return {
            "line": rows * (channels + out) * lines,
            "move": freq * 2 * rows * (channels + out),
            "mix": freq * 4 * rows * per_group * out,
            "write": freq * 2 * max(functions, 1) * per_group * out,
            "sample": n,
            "spectral_start": 1,
        }

    def tiled_counts(
        self, x_shape: Sequence[int], kernel_shape: Sequence[int], tiles: Tiles, functions: int
    ) -> dict[str, float]:
        """Operations by kind for images x (B, C, H, W), kernels (O, C, *k) of H functions."""
        out, channels = kernel_shape[:2]
        rows = x_shape[0] * math.prod(tiles.count)
        frequencies = tiles.half * tiles.lengths[1]
        turned = rows * (_turned(tiles, tiles.taken) * channels + _turned(tiles, tiles.step) * out)
        return {
            "turn": turned + functions * _turned(tiles, kernel_shape[2:]),
            "place": 2 * frequencies * rows * (channels + out),
            "blend": 4 * frequencies * rows * channels * out,
            "write": 2 * frequencies * functions * channels * out,
            "tiled_run": tiles.half,
            "tiled_start": 1,
        }

    def direct_counts(
        self,
        x_shape: Sequence[int],
        kernel_shape: Sequence[int],
        pad: Sequence[tuple[int, int]],
        functions: int,
        stride: Sequence[int] = (),
        dilation: Sequence[int] = (),
    ) -> dict[str, float]:
        """Operations of each kind of a direct convolution, its kernel written out first."""
        dim = len(pad)
        batch, pixels, channels = x_shape[0], math.prod(x_shape[2:]), list(kernel_shape[:2])
        meetings = math.prod(
            [
                _meetings(n, k, before, d) / step
                if before == after
                else n * k / step  # else zeros are written out
                for n, k, (before, after), step, d in zip(
                    x_shape[2:], kernel_shape[2:], pad, stride or (1,) * dim, dilation or (1,) * dim
                )
            ]  # a list, which a compiler takes
        )
        kind = f"direct{dim}d"
        if is_depthwise(x_shape, kernel_shape):
            kind = f"depthwise{dim}d"
        elif dim == 2:
            channels = [max(c, _FEWEST_CHANNELS) for c in channels]
        if dim == 2 and max(kernel_shape[2:]) > _LONGEST_FAST_KERNEL:
            kind += "_long"
        return {
            kind: batch * math.prod(channels) * meetings,
            "slide": batch * pixels * (x_shape[1] + kernel_shape[0]),
            "write": math.prod(kernel_shape) * functions,
            "direct_start": 1,
        }

    def seconds(self, counts: dict[str, float]) -> float:
        """What operations of each kind cost together."""
        known = rates(self.device, self.kept)
        return sum(n * known[kind] for kind, n in counts.items())


def _turned(tiles: Tiles, size: Sequence[int]) -> int:
    """Multiply-adds of a transform of one channel's tile of `size`."""
    rows, columns = size
    return 2 * tiles.half * columns * (rows + 2 * tiles.lengths[1])


def is_depthwise(x_shape: Sequence[int], kernel_shape: Sequence[int]) -> bool:
    """Whether each of several input channels x (B, C, *size) has kernels (O, 1, *k) of its own."""
    return kernel_shape[1] == 1 < x_shape[1]


@remembered
def _meetings(n: int, k: int, before: int, dilation: int) -> int:
    """Pairs of a kernel's sample and an input's, padding left out, over all outputs."""
    past = min(before // dilation + 1, k)  # samples of the kernel that lie before the output
    latest = before - dilation * (past - 1)  # how far, of the last of them
    return _series(n - latest, past, dilation) + _series(n + latest - dilation, k - past, dilation)


def _series(first: int, count: int, step: int) -> int:
    """The sum of the numbers over zero of `first`, `first - step`, ..., `count` of them."""
    count = max(min(count, -(-first // step)), 0)
    return count * first - step * count * (count - 1) // 2


# What the rates of direct convolutions are multiplied by in evaluation, by `calibrate.py --kept`:
# spectral ones, whose rates stay, gain less, as transforms remain. By time alone short kernels on
# images would have 1.0; so a spectral one has to be clearly faster, for the spectra that it keeps.
KEPT = {
    "cpu": {
        "direct1d": 0.50,
        "direct2d": 0.60,
        "direct2d_long": 0.94,
        "direct3d": 0.53,
        "depthwise1d": 0.121,
        "depthwise2d": 0.150,
        "depthwise2d_long": 0.098,
        "depthwise3d": 0.031,
    },
    "cuda": {},  # never measured
}

_LONGEST_FAST_KERNEL = 14  # beyond it, PyTorch's 2-D convolutions on a CPU take a slower path
_FEWEST_CHANNELS = 6  # fewer take as long: they do not fill a vector register

# Seconds per operation. The CPU's are fitted to 135 shapes on one thread of an x86 machine with
# AVX2, images channels-last. The GPU's are estimates from an H100-class chip's arithmetic,
# bandwidth and launch times, not measurements.
_RATES = {
    "cpu": {
        "line": 9.58e-11,
        "move": 1.60e-08,
        "mix": 8.81e-11,
        "write": 1.61e-10,
        "sample": 1.60e-06,
        "spectral_start": 3.64e-03,
        "direct1d": 1.80e-10,
        "direct2d": 7.27e-11,
        "direct2d_long": 2.61e-10,
        "direct3d": 2.61e-10,
        "depthwise1d": 9.47e-10,
        "depthwise2d": 4.81e-10,
        "depthwise2d_long": 2.26e-09,
        "depthwise3d": 3.03e-09,
        "product1d": 5.20e-09,
        "product2d": 1.30e-08,
        "product3d": 1.16e-08,
        "turn": 9.50e-11,
        "place": 5.70e-09,
        "blend": 7.31e-11,
        "tiled_run": 6.83e-05,
        "tiled_start": 4.81e-04,
        "slide": 5.76e-10,
        "direct_start": 1.10e-03,
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
        "direct3d": 2.4e-12,
        "depthwise1d": 1e-11,
        "depthwise2d": 1e-11,
        "depthwise2d_long": 1e-11,
        "depthwise3d": 1e-11,
        "product1d": 1e-11,
        "product2d": 1e-11,
        "product3d": 1e-11,
        "slide": 1e-11,
        "direct_start": 8e-05,
    },
}
