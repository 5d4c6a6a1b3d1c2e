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
from ckconv.functional.spectral.turned import Turned

if TYPE_CHECKING:
    from jaxtyping import Float

# Numbers of the input, padded, that are transformed at once; on a CPU, for each thread.
_AT_ONCE = {"cpu": 1 << 19, "cuda": 1 << 26}
_SHORT = 4096  # samples of a sequence's transform, up to which half as many at once are faster
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
        lengths, axes = self.frames.lengths, tuple(range(-len(self.frames.lengths), 0))
        x_hat = torch.fft.rfftn(self.frames.split(x).contiguous(), s=lengths, dim=axes)
        k_hat = torch.fft.rfftn(kernel.unflatten(0, (x.shape[1], -1)), s=lengths, dim=axes)
        y_hat = (x_hat.unsqueeze(3) * k_hat.conj()).flatten(2, 3)  # (B, J, O, *freq)
        return self.frames.join(torch.fft.irfftn(y_hat, s=lengths, dim=axes))

    def product(self, x: Tensor, kernel: Tensor) -> Tensor:
        kernels = kernel.unflatten(0, (x.shape[1], -1))  # (C, M, *k)
        alike = self.frames.out == x.shape[2:] and kernels.shape[1] == 1
        y = (
            torch.empty_like(x)
            if alike
            else x.new_empty(x.shape[0], kernel.shape[0], *self.frames.out)
        )
        per_channel = y.unflatten(1, kernels.shape[:2])  # (B, C, M, *out)
        turn = Turned(self.frames, together=x.device.type != "cpu")
        for channels, rows in self._chunks(x):
            k_hat = turn.kernels(kernels[channels]).conj_physical_()  # (c, M, *freq)
            for row in rows:
                y_hat = _multiplied(turn.inputs(x[row, channels]), k_hat)  # (b, J, c, M, *freq)
                per_channel[row, channels] = turn.outputs_back(y_hat)
        return y

    def gradient(self, x: Tensor, kernel: Tensor, grad: Tensor) -> tuple[Tensor, Tensor]:
        kernels = kernel.unflatten(0, (x.shape[1], -1))  # (C, M, *k)
        grad_x, grad_kernels = torch.empty_like(x), torch.empty_like(kernels)
        per_channel = grad.unflatten(1, kernels.shape[:2])  # (B, C, M, *out)
        turn = Turned(self.frames, together=x.device.type != "cpu")
        for channels, rows in self._chunks(x):
            k_hat = turn.kernels(kernels[channels])  # (c, M, *freq)
            grad_k = torch.zeros_like(k_hat)
            for row in rows:
                x_hat = turn.inputs(x[row, channels]).conj_physical_()  # (b, J, c, 1, *freq)
                own = turn.outputs(per_channel[row, channels])  # (b, J, c, M, *freq)
                grad_k += _multiplied(x_hat, own).sum((0, 1))
                own = own.mul_(k_hat)
                own = own.sum(3) if own.shape[3] > 1 else own[:, :, :, 0]  # (b, J, c, *freq)
                grad_x[row, channels] = turn.inputs_back(own, x.shape[2:])
            grad_kernels[channels] = turn.kernels_back(grad_k.conj_physical_(), kernel.shape[1:])
        return grad_x, grad_kernels.flatten(0, 1)

    def _chunks(self, x: Tensor) -> Iterator[tuple[slice, list[slice]]]:
        """Runs of channels, and with each the runs of samples that go with it."""
        at_once = multilinear.run_size(_AT_ONCE, x.device)
        if x.device.type == "cpu" and x.ndim == 3 and self.frames.lengths[0] <= _SHORT:
            at_once //= 2
        each = self.frames.numbers
        width = _LINE if x.ndim > 3 and x.stride(1) == 1 else 1
        for channels in multilinear.runs(
            x.shape[1], min(x.shape[0] * each, max(each, at_once // width)), at_once
        ):
            width = channels.stop - channels.start
            yield channels, multilinear.runs(x.shape[0], each * width, at_once)


def _multiplied(x_hat: Tensor, k_hat: Tensor) -> Tensor:
    """The product of x_hat (b, J, c, 1, *freq) and spectra of M kernels, in its place if M is 1."""
    return x_hat * k_hat if k_hat.shape[3 - x_hat.ndim] > 1 else x_hat.mul_(k_hat)
