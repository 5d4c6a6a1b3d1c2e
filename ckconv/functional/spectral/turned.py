"""Real Fourier transforms of several axes, one axis after the other, each turned to the end.

A CPU transforms lines that lie in one piece about twice as fast as lines that do not, and
`torch.fft.irfftn` copies its input twice over. Here each axis is transformed as the last one, and
what is transformed back is multiplied in the order in which the last transform left it. Padding,
turning and cropping are one copy, which leaves out lines of zeros and lines that nobody reads.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from ckconv.functional.spectral.frames import Frames
from ckconv.functional.wrapping import folded


def _none(axis: int) -> tuple[int, int]:
    """No axis is extended."""
    return 0, 0


class Turned:
    """Transforms by `frames` between samples (..., *size) and spectra (..., *freq).

    `freq` has the last axis in front. Spectra that are transformed back may be overwritten.

    Args:
        frames: lengths and places.
        together: transform all axes at once instead, in their order, as for other devices than
            CPUs, on which turning was never measured.
    """

    def __init__(self, frames: Frames, together: bool) -> None:
        self.frames, self.together = frames, together
        dim = len(frames.lengths)
        self._start, self._axes = (0,) * dim, tuple(range(-dim, 0))
        self._in_frames = together or frames.count > 1  # no axis is turned
        self._zeros: dict[tuple, Tensor] = {}

    def inputs(self, x: Tensor) -> Tensor:
        """x (b, c, *size) -> (b, J, c, 1, *freq)."""
        if self._in_frames:
            return self._whole(self.frames.split(x.contiguous())).unsqueeze(3)
        return self._forward(x, self.frames.before, self.frames.extended)[:, None, :, None]

    def inputs_back(self, x_hat: Tensor, size: Sequence[int]) -> Tensor:
        """The gradient of `inputs`: (b, J, c, *freq) -> (b, c, *size)."""
        if self._in_frames:
            return self.frames.split_transposed(self._whole_back(x_hat), size)
        return self._back(x_hat[:, 0], self.frames.before, size, self.frames.extended)

    def outputs(self, grad: Tensor) -> Tensor:
        """The gradient of `outputs_back`: (b, c, M, *out) -> (b, J, c, M, *freq)."""
        if self._in_frames:
            own = self.frames.join_transposed(grad.contiguous().flatten(1, 2))
            return self._whole(own).unflatten(2, grad.shape[1:3])
        return self._forward(grad, self._start).unsqueeze(1)

    def outputs_back(self, y_hat: Tensor) -> Tensor:
        """(b, J, c, M, *freq) -> (b, c, M, *out)."""
        if self._in_frames:
            pieces = self._whole_back(y_hat.flatten(2, 3))
            return self.frames.join(pieces).unflatten(1, y_hat.shape[2:4])
        return self._back(y_hat[:, 0], self._start, self.frames.out)

    def kernels(self, kernel: Tensor) -> Tensor:
        """(c, M, *k) -> (c, M, *freq)."""
        if self.together:
            return self._whole(kernel)
        return self._forward(kernel, self._start)

    def kernels_back(self, k_hat: Tensor, size: Sequence[int]) -> Tensor:
        """The gradient of `kernels`: (c, M, *freq) -> (c, M, *k)."""
        if self.together:
            return self._whole_back(k_hat)[(..., *(slice(0, k) for k in size))]
        return self._back(k_hat, self._start, size)

    def _whole(self, x: Tensor) -> Tensor:
        """All axes transformed at once, in their order."""
        return torch.fft.rfftn(x, s=self.frames.lengths, dim=self._axes)

    def _whole_back(self, x_hat: Tensor) -> Tensor:
        """The inverse of `_whole`."""
        return torch.fft.irfftn(x_hat, s=self.frames.lengths, dim=self._axes)

    def _forward(
        self, x: Tensor, before: Sequence[int], extended: Callable[[int], tuple[int, int]] = _none
    ) -> Tensor:
        """Transform samples (..., *size) that stand after so many others per axis."""
        lengths = self.frames.lengths
        dim = len(lengths)
        x_hat = torch.fft.rfft(self._padded(x, before[-1], lengths[-1], *extended(dim - 1)))
        for axis in reversed(range(dim - 1)):
            turned = x_hat.movedim(axis - dim, -1)
            padded = self._padded(turned, before[axis], lengths[axis], *extended(axis))
            x_hat = torch.fft.fft(padded)
        return x_hat

    def _back(
        self,
        x_hat: Tensor,
        before: Sequence[int],
        size: Sequence[int],
        extended: Callable[[int], tuple[int, int]] = _none,
    ) -> Tensor:
        """The samples (..., *size) that stand after so many others per axis."""
        lengths = self.frames.lengths
        dim = len(lengths)
        parts = [(first, n, *extended(axis)) for axis, (first, n) in enumerate(zip(before, size))]
        for axis in range(dim - 1):
            turned = folded(torch.fft.ifft(x_hat), -1, *parts[axis]).movedim(-1, axis - dim)
            x_hat = turned.contiguous()
        return folded(torch.fft.irfft(x_hat, n=lengths[-1]), -1, *parts[-1])

    def _padded(self, x: Tensor, first: int, length: int, before: int, after: int) -> Tensor:
        """x (..., n) from `first` on among zeros, and so many of its samples at its other ends.

        (..., length), in memory that the next such call overwrites.
        """
        n = x.shape[-1]
        if n == length:
            return x.contiguous()
        key = first, length, before, after, x.shape, x.dtype
        if key not in self._zeros:
            self._zeros[key] = x.new_zeros(*x.shape[:-1], length)
        buffer = self._zeros[key]
        buffer[..., first : first + n] = x
        if before:
            buffer[..., first - before : first] = x[..., n - before :]
        if after:
            buffer[..., first + n : first + n + after] = x[..., :after]
        return buffer
