"""Depthwise convolution in the frequency domain: a product per channel, no sums over channels.

Nothing is shared between channels, so that a few of them at a time go all the way, from the
input's samples to the output's, and stay in the processor's cache.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ckconv.functional.kernel import FactoredKernel
from ckconv.functional.spectral import multilinear
from ckconv.functional.spectral.frames import Frames
from ckconv.functional.spectral.transform import at_least_float, lay_out

if TYPE_CHECKING:
    from jaxtyping import Float

# Numbers of the input, padded, that are transformed at once.
_AT_ONCE = {"cpu": 1 << 19, "cuda": 1 << 26}
_LINE = 16  # channels-last, so many float32 channels share a line of the cache


def depthwise(
    x: Float[Tensor, "B channels *size"],
    kernel: Float[Tensor, "out 1 *k"] | FactoredKernel,
    frames: Frames,
    dilation: Sequence[int],
) -> Float[Tensor, "B out *steps"]:
    """Cross-correlate x (B, C, *size), padded as `frames` say, with a kernel (O, 1, *k)."""
    dense = kernel.dense() if isinstance(kernel, FactoredKernel) else kernel
    dense = lay_out(at_least_float(dense)[:, 0], frames, dilation)  # (O, *k)
    operation = _Depthwise(frames)
    if torch.compiler.is_compiling():
        return operation.as_graph(x, dense)
    return multilinear.apply(operation, x, dense)


@dataclass(frozen=True)
class _Depthwise:
    """The convolution of x (B, C, *size) with O / C kernels per channel, (O, *k)."""

    frames: Frames

    def as_graph(self, x: Tensor, kernel: Tensor) -> Tensor:
        """All channels at once, by operations that a compiler knows."""
        x_hat = self._transform(self.frames.split(x).contiguous()).unsqueeze(
            3
        )  # (B, J, C, 1, *freq)
        k_hat = self._transform(kernel.unflatten(0, (x.shape[1], -1)))  # (C, M, *freq)
        return self.frames.join(self._inverse((x_hat * k_hat.conj()).flatten(2, 3)))

    def product(self, x: Tensor, kernel: Tensor) -> Tensor:
        kernels = kernel.unflatten(0, (x.shape[1], -1))  # (C, M, *k)
        y = (
            torch.empty_like(x)
            if self.frames.out == x.shape[2:] and kernels.shape[1] == 1
            else (x.new_empty(x.shape[0], kernel.shape[0], *self.frames.out))
        )
        per_channel = y.unflatten(1, kernels.shape[:2])  # (B, C, M, *out)
        for channels, rows in self._chunks(x):
            k_hat = self._transform(kernels[channels]).conj().resolve_conj()  # (c, M, *freq)
            for row in rows:
                x_hat = self._spectrum(x[row, channels])  # (b, J, c, 1, *freq)
                joined = self.frames.join(self._inverse((x_hat * k_hat).flatten(2, 3)))
                per_channel[row, channels] = joined.unflatten(1, k_hat.shape[:2])
        return y

    def gradient(self, x: Tensor, kernel: Tensor, grad: Tensor) -> tuple[Tensor, Tensor]:
        kernels = kernel.unflatten(0, (x.shape[1], -1))  # (C, M, *k)
        grad_x, grad_kernels = torch.empty_like(x), torch.empty_like(kernels)
        per_channel = grad.unflatten(1, kernels.shape[:2])  # (B, C, M, *out)
        for channels, rows in self._chunks(x):
            k_hat = self._transform(kernels[channels])  # (c, M, *freq)
            grad_k = torch.zeros_like(k_hat)
            for row in rows:
                x_hat = self._spectrum(x[row, channels])  # (b, J, c, 1, *freq)
                own = self.frames.join_transposed(
                    per_channel[row, channels].contiguous().flatten(1, 2)
                )
                own = self._transform(own).unflatten(2, k_hat.shape[:2])  # (b, J, c, M, *freq)
                pieces = self._inverse((own * k_hat).sum(3))
                grad_x[row, channels] = self.frames.split_transposed(pieces, x.shape[2:])
                grad_k += (x_hat * own.conj()).sum((0, 1))
            size = tuple(slice(0, k) for k in kernel.shape[1:])
            grad_kernels[channels] = self._inverse(grad_k)[(..., *size)]
        return grad_x, grad_kernels.flatten(0, 1)

    def _spectrum(self, x: Tensor) -> Tensor:
        return self._transform(self.frames.split(x.contiguous())).unsqueeze(3)

    def _transform(self, x: Tensor) -> Tensor:
        lengths = self.frames.lengths
        return torch.fft.rfftn(x, s=lengths, dim=tuple(range(-len(lengths), 0)))

    def _inverse(self, x_hat: Tensor) -> Tensor:
        lengths = self.frames.lengths
        return torch.fft.irfftn(x_hat, s=lengths, dim=tuple(range(-len(lengths), 0)))

    def _chunks(self, x: Tensor) -> Iterator[tuple[slice, list[slice]]]:
        """Runs of channels, and with each the runs of samples that go with it."""
        at_once = _AT_ONCE.get(x.device.type, 1 << 24)
        each = self.frames.numbers
        for channels in multilinear.runs(x.shape[1], max(each, at_once // _LINE), at_once):
            width = channels.stop - channels.start
            yield channels, multilinear.runs(x.shape[0], each * width, at_once)
