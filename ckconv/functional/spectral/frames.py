"""How an input is cut into the pieces that are transformed, and put together again."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, wraps

import torch
import torch.nn.functional as F
from torch import Tensor

from ckconv.functional.wrapping import folded, wrapped


def remembered(function: Callable) -> Callable:
    """Keep what `function` gave for its last arguments; a compiler traces it without that."""
    kept = lru_cache(maxsize=4096)(function)

    @wraps(function)
    def call(*args: object) -> object:
        return function(*args) if torch.compiler.is_compiling() else kept(*args)

    return call


@dataclass(frozen=True)
class Frames:
    """Transforms of length `lengths` per axis that together give `out` samples per axis.

    A sequence may be cut into `count` overlapping frames that give `step` samples each
    (overlap-save); images are one frame. An axis whose padding is circular needs none: the
    transform wraps by itself, the kernel's first sample `wrap` samples before the input's. Where
    it does not, for `wrap` is None, `extension` samples of the input's other end are put to its
    ends, those in front among the `before`.
    """

    lengths: tuple[int, ...]
    before: tuple[int, ...]
    out: tuple[int, ...]
    count: int = 1
    step: int = 0
    wrap: tuple[int | None, ...] = ()
    extension: tuple[tuple[int, int], ...] = ()

    @property
    def numbers(self) -> int:
        """Samples of all frames of one channel."""
        return self.count * math.prod(self.lengths)

    @property
    def wrapped(self) -> tuple[int, ...]:
        """The axes whose circular padding these transforms see to."""
        shifted = {axis for axis, shift in enumerate(self.wrap) if shift is not None}
        return tuple(shifted | {axis for axis, sides in enumerate(self.extension) if any(sides)})

    def cut(
        self,
        length: int,
        span: int,
        before: tuple[int],
        extension: tuple[tuple[int, int], ...] = (),
    ) -> Frames:
        """The same in frames of `length`, for a kernel of `span` and so many samples in front."""
        step = length - span + 1
        if step < 1:
            raise ValueError(
                f"frames={length}: a kernel of {span} samples needs transforms at least as long"
            )
        count = math.ceil(self.out[0] / step)
        return Frames((length,), before, self.out, count, step, extension=extension)

    def split(self, x: Tensor) -> Tensor:
        """(B, C, *size) -> (B, J, C, *lengths), padded."""
        if any(map(any, self.extension)):
            bare = [n - sides[0] for n, sides in zip(self.before, self.extension)]
            for axis, sides in enumerate(self.extension, start=2):
                x = wrapped(x, axis, *sides) if any(sides) else x
            return replace(self, before=tuple(bare), extension=()).split(x)
        if self.count > 1:
            span = (self.count - 1) * self.step + self.lengths[0]
            padded = F.pad(x, (self.before[0], span - x.shape[2] - self.before[0]))
            return padded.unfold(2, self.lengths[0], self.step).transpose(1, 2)
        sides = []
        for n, length, before in zip(x.shape[:1:-1], self.lengths[::-1], self.before[::-1]):
            sides += [before, length - n - before]
        return F.pad(x, sides).unsqueeze(1)

    def split_transposed(self, pieces: Tensor, size: Sequence[int]) -> Tensor:
        """The gradient of `split`: (B, J, C, *lengths) -> (B, C, *size)."""
        if self.count > 1:
            pieces = _overlap_add(pieces.transpose(1, 2), self.step)  # (B, C, span)
        else:
            pieces = pieces[:, 0]
        for axis, (first, n) in enumerate(zip(self.before, size), start=2):
            pieces = folded(pieces, axis, first, n, *self.extended(axis - 2))
        return pieces

    def extended(self, axis: int) -> tuple[int, int]:
        """The `extension` of an axis."""
        return self.extension[axis] if self.extension else (0, 0)

    def join_transposed(self, grad: Tensor) -> Tensor:
        """The gradient of `join`: (B, O, *out) -> (B, J, O, *lengths)."""
        if self.count > 1:
            grad = F.pad(grad, (0, self.count * self.step - self.out[0]))
            grad = grad.unflatten(2, (self.count, self.step)).transpose(1, 2)  # (B, J, O, step)
            return F.pad(grad, (0, self.lengths[0] - self.step))
        sides = []
        for length, n in zip(self.lengths[::-1], self.out[::-1]):
            sides += [0, length - n]
        return F.pad(grad, sides).unsqueeze(1)

    def join(self, y: Tensor) -> Tensor:
        """(B, J, O, *lengths) -> (B, O, *out)."""
        if self.count > 1:
            return y[..., : self.step].transpose(1, 2).flatten(2)[..., : self.out[0]]
        return y[(slice(None), 0, slice(None), *(slice(0, n) for n in self.out))]


def _overlap_add(pieces: Tensor, step: int) -> Tensor:
    """Sum frames (..., J, length) that start `step` apart: (..., (J - 1) step + length or more)."""
    count, length = pieces.shape[-2:]
    parts = -(-length // step)
    pieces = F.pad(pieces, (0, parts * step - length)).unflatten(-1, (parts, step))
    total = pieces.new_zeros(*pieces.shape[:-3], count + parts - 1, step)
    for part in range(parts):
        total[..., part : part + count, :] += pieces[..., part, :]
    return total.flatten(-2)


def whole_frames(
    size: Sequence[int],
    span: Sequence[int],
    pad: Sequence[tuple[int, int]],
    circular: Sequence[int] = (),
    fast: Callable[[int], int] | None = None,
) -> Frames:
    """One transform per channel; arguments as for `plan_frames`, `fast` for `transform_lengths`."""
    out = tuple(n + a + b - k + 1 for n, k, (a, b) in zip(size, span, pad))
    lengths, before, wrap, extension = [], [], [], []
    for axis, (n, k, sides) in enumerate(zip(size, span, pad)):
        extension.append((0, 0))
        if axis in circular and out[axis] <= n and is_smooth(n, _WRAPPED_PRIMES):
            lengths.append(n)
            wrap.append(sides[0])
            before.append(0)
            continue
        first = sides[0]
        if axis in circular:
            extension[axis] = extended_here(n, sides)
            first = extension[axis][0]
            n, sides = n + sum(sides), (0, 0)
        lengths += transform_lengths((n,), (k,), (sides,), fast or fast_length)
        wrap.append(None)
        before.append(first)
    return Frames(tuple(lengths), tuple(before), out, wrap=tuple(wrap), extension=tuple(extension))


def extended_here(n: int, sides: tuple[int, int]) -> tuple[int, int]:
    """The `Frames.extension` of a circular axis: none where its ends need more than n samples.

    Such an axis is written out first.
    """
    return sides if max(sides) <= n else (0, 0)


@remembered
def fast_length(n: int) -> int:
    """The smallest number of at least n without a prime factor over 5."""
    best = 1 << (n - 1).bit_length()
    fives = 1
    while fives < best:
        odd = fives
        while odd < best:
            halvings = -(-n // odd)
            best = min(best, odd << (halvings - 1).bit_length())
            odd *= 3
        fives *= 5
    return best


@remembered
def shorter_length(n: int) -> int:
    """The smallest even number of at least n without a prime factor over 7.

    From 64 on a multiple of eight. A CPU's transforms of such numbers take no longer for each
    sample than those of `fast_length`, so that the fewest samples are the fastest.
    """
    step = 8 if n > 64 else 2
    n += -n % step
    while not is_smooth(n, (2, 3, 5, 7)):
        n += step
    return n


# Other prime factors make a transform so slow that padding which is written out is faster.
_WRAPPED_PRIMES = (2, 3, 5, 7, 11, 13, 17)


def is_smooth(n: int, primes: Sequence[int]) -> bool:
    """Whether n has no prime factor but these."""
    for prime in primes:
        while n % prime == 0:
            n //= prime
    return n == 1


def transform_lengths(
    size: Sequence[int],
    kernel_size: Sequence[int],
    pad: Sequence[tuple[int, int]],
    fast: Callable[[int], int],
) -> tuple[int, ...]:
    """The smallest transform lengths, of those `fast` gives, without wrapped samples in the output.

    With `before` zeros in front of n samples, output t reads up to position t + k - 1. What lies
    past the transform's length wraps into those leading zeros, which may be shared with the
    trailing ones: n + before is enough for the input, out + k - 1 - before for the output.
    """
    lengths = []
    for n, k, (before, after) in zip(size, kernel_size, pad):
        out = n + before + after - k + 1
        lengths.append(fast(max(n + before, out + k - 1 - before, out, k)))
    return tuple(lengths)
