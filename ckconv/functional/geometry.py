"""Where a kernel's samples meet the input's: padding, strides and dilations per axis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ckconv.errors import UsageError, check_choice, is_whole
from ckconv.functional.wrapping import wrapped

MODES = ("zeros", "circular", "reflect", "replicate")
WORDS = ("same", "valid")


@dataclass(frozen=True)
class Geometry:
    """A convolution but for its numbers: one entry per axis in each field.

    Sample i of the kernel meets sample `t * stride + i * dilation - before` of the input in
    output t, where `pad` is (before, after).
    """

    pad: tuple[tuple[int, int], ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    modes: tuple[str, ...]

    @property
    def circular(self) -> tuple[int, ...]:
        """The axes whose padding is circular."""
        return tuple(axis for axis, mode in enumerate(self.modes) if mode == "circular")

    def spans(self, kernel_size: Sequence[int]) -> tuple[int, ...]:
        """Samples from the kernel's first to its last, holes of the dilation included."""
        return tuple(d * (k - 1) + 1 for k, d in zip(kernel_size, self.dilation))

    def every_output(self, size: Sequence[int], kernel_size: Sequence[int]) -> tuple[int, ...]:
        """The output's size with a stride of one."""
        spans = self.spans(kernel_size)
        return tuple(n + a + b - span + 1 for n, span, (a, b) in zip(size, spans, self.pad))

    def strided(self, y: Tensor) -> Tensor:
        """The outputs that the stride keeps, of all (..., *size)."""
        if all(step == 1 for step in self.stride):
            return y
        return y[(..., *(slice(None, None, step) for step in self.stride))]

    def extend(self, x: Tensor, but: Sequence[int] = ()) -> tuple[Tensor, Geometry]:
        """Write out all padding that is not zeros, `but` that of some axes; and what is left."""
        pad, modes = list(self.pad), list(self.modes)
        for axis in set(range(len(pad))) - set(but):
            if modes[axis] != "zeros" and any(pad[axis]):
                x = _extended(x, 2 + axis, *pad[axis], modes[axis])
                pad[axis] = (0, 0)
            modes[axis] = "zeros"
        return x, replace(self, pad=tuple(pad), modes=tuple(modes))

    def reachable(
        self, size: Sequence[int], kernel_size: Sequence[int]
    ) -> tuple[tuple[slice, ...], Geometry]:
        """The kernel's samples that meet more than zeros, and the padding that those need."""
        slices, pads = [], []
        out = self.every_output(size, kernel_size)
        for k, reach, (before, after), d, mode in zip(
            kernel_size, out, self.pad, self.dilation, self.modes
        ):
            first = last = 0
            if mode == "zeros":
                first, last = (min(-(-max(p - reach + 1, 0) // d), p // d) for p in (before, after))
            slices.append(slice(first, k - last))
            pads.append((before - first * d, after - last * d))
        return tuple(slices), replace(self, pad=tuple(pads))


def _extended(x: Tensor, axis: int, before: int, after: int, mode: str) -> Tensor:
    """x with so many samples more on both sides of an axis."""
    n = x.shape[axis]
    if mode == "circular" and max(before, after) <= n:
        return wrapped(x, axis, before, after)
    return x.index_select(axis, positions(n, before, after, mode).to(x.device))


def positions(n: int, before: int, after: int, mode: str) -> Tensor:
    """The samples, of n, that stand at -before ... n + after - 1."""
    at = torch.arange(-before, n + after)
    if mode == "circular":
        return at % n
    if mode == "replicate":
        return at.clamp(0, n - 1)
    period = max(2 * n - 2, 1)  # reflect: there and back, the ends once
    at = at % period
    return torch.where(at < n, at, period - at)


def make_geometry(
    size: Sequence[int],
    kernel_size: Sequence[int],
    stride: int | Sequence[int],
    dilation: int | Sequence[int],
    padding: str | int | Sequence[str | int],
    padding_mode: str | Sequence[str],
    causal_axis: int | None,
) -> Geometry:
    """The geometry that `conv`'s arguments describe; raises `UsageError` for ones that do not."""
    dim = len(size)
    strides, dilations = (
        _whole_numbers(name, given, dim, 1)
        for name, given in (("stride", stride), ("dilation", dilation))
    )
    modes = per_axis("padding_mode", padding_mode, dim)
    for mode in modes:
        check_choice("padding_mode", mode, MODES)
    if causal_axis is not None and not -dim <= causal_axis < dim:
        raise UsageError(f"causal_axis={causal_axis}: the input has the axes 0 to {dim - 1}")
    causal = None if causal_axis is None else causal_axis % dim
    pads = []
    for axis, given in enumerate(per_axis("padding", padding, dim)):
        total = dilations[axis] * (kernel_size[axis] - 1)
        pads.append(sides(given, total, axis == causal))
    geometry = Geometry(tuple(pads), strides, dilations, modes)
    out = geometry.every_output(size, kernel_size)
    if min(out) < 1:
        padded = tuple(n + a + b for n, (a, b) in zip(size, pads))
        raise ValueError(
            f"padding={padding}: the kernel, {geometry.spans(kernel_size)}, is larger than the "
            f"input with its padding, {padded}; use padding=same"
        )
    return geometry


def sides(given: str | int, total: int, causal: bool) -> tuple[int, int]:
    """Samples added before and after an axis, on which the kernel spans `total` + 1."""
    if isinstance(given, str):
        check_choice("padding", given, WORDS)
        if given == "valid":
            return 0, 0
        return (total, 0) if causal else (total // 2, total - total // 2)
    (number,) = _whole_numbers("padding", given, 1, 0)
    if causal and number:
        raise UsageError(
            f"padding={given}: a number is added on both sides, so that outputs would see the "
            "future; along a causal axis give same or valid"
        )
    return number, number


def per_axis(name: str, given: object, dim: int) -> tuple:
    """One entry per axis, from one for all or a sequence of them."""
    if isinstance(given, str) or not isinstance(given, Sequence):
        return (given,) * dim
    if len(given) == 1 and dim > 1 or len(given) == dim:
        return tuple(given) * (dim // len(given))
    raise UsageError(f"{name}={given}: give one for all axes or one for each of the {dim}")


def _whole_numbers(name: str, given: object, dim: int, least: int) -> tuple[int, ...]:
    numbers = per_axis(name, given, dim)
    for number in numbers:
        if not is_whole(number) or number < least:
            raise UsageError(f"{name}={given}: give whole numbers of at least {least}")
    return tuple(n if isinstance(n, int) else int(n) for n in numbers)


def as_uncropped(
    x: Tensor,
    padding: str | int | Sequence[str | int],
    whole: Sequence[int],
    kernel_size: Sequence[int],
    dilation: int | Sequence[int],
    causal_axis: int | None,
) -> tuple[Tensor, str | list[str | int]]:
    """The input and the padding with which a cropped kernel gives as many outputs as a whole one.

    Numbers count from the `whole` kernel's size, of which `kernel_size` is left: the middle, or
    along the axis of time the end. Where more was cropped than is padded, the outputs begin
    inside the input x (..., *size).
    """
    if isinstance(padding, str):
        return x, padding
    dim = len(whole)
    left, steps = list(per_axis("padding", padding, dim)), per_axis("dilation", dilation, dim)
    for axis, (n, k) in enumerate(zip(whole, kernel_size)):
        if isinstance(left[axis], str):
            continue
        lost = steps[axis] * (n - k)
        sides = (lost, 0) if axis == causal_axis else (lost // 2, lost - lost // 2)
        first, last = (max(side - left[axis], 0) for side in sides)
        x = x.narrow(axis - dim, first, x.shape[axis - dim] - first - last)
        left[axis] = max(left[axis] - sides[1], 0)
    return x, left
