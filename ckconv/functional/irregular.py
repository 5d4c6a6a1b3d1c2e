"""The causal convolution of sequences whose samples lie at times of their own.

It is computed directly, from all pairs of samples that the kernel spans. The kernel is evaluated
once for every distance that occurs: up to B L^2 / 2 times, where a regular convolution needs L;
the sum itself takes B L^2 C H products, with H functions in the kernel. Sequences go through in
groups of `PAIRS` pairs, which are computed again in the backward pass, so that memory does not
grow with the batch.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from ckconv.functional.kernel import FactoredKernel

if TYPE_CHECKING:
    from jaxtyping import Float

PAIRS = 1 << 17  # pairs of samples that are worked on at once: about 200 MB with 32 functions


def irregular_conv(
    x: Float[Tensor, "B channels L"],
    times: Float[Tensor, "B L"],
    kernel_at: Callable[[Tensor], FactoredKernel],
    bias: Float[Tensor, " out"] | None = None,
    *,
    steps: int,
    reach: float,
    last_step: bool = False,
) -> Float[Tensor, "B out steps"]:
    """Causally convolve `x`, sampled at `times`, with a continuous kernel.

    `y(t_i) = sum over j <= i of kernel(t_i - t_j) x(t_j) w_ij`: the integral that a convolution
    is, with the kernel at the true distances (CKConv, Romero et al., ICLR 2022, section 4.3). The
    weights w are the samples' widths: from the middle of one gap to the middle of the next, half
    a step beyond the first and the present sample. At times 0, 1, 2, ... they are all one, and
    the result is that of `conv(x, kernel, causal=True)`. Time grows with L^2: not
    meant for more than some thousand samples.

    Args:
        x: (B, C, L).
        times: (B, L), increasing, in units of the kernel's sample step.
        kernel_at: the kernel at positions (N,) on [-1, 1]; 1 is the present, -1 lies `steps` back.
        bias: (O,) or None.
        steps: the kernel's span.
        reach: distances up to this are covered; beyond it the kernel is zero.
        last_step: compute the last output alone.

    Returns:
        (B, O, L), or (B, O, 1) with `last_step`, in the dtype of `x`.

    Raises:
        ValueError: for shapes that do not fit each other.
    """
    _check(x, times)
    how = kernel_at, steps, reach, last_step
    outputs = 1 if last_step else x.shape[2]
    with torch.autocast(x.device.type, enabled=False):
        y = _in_groups(lambda *group: _convolve(*group, *how), x, times, outputs)
        return (y if bias is None else y + bias[:, None]).to(x.dtype)


def _in_groups(
    convolve: Callable[[Tensor, Tensor], Tensor], x: Tensor, times: Tensor, outputs: int
) -> Tensor:
    """Convolve sequences in groups; in training each is computed again in the backward pass."""
    rows = max(1, PAIRS // (outputs * x.shape[2]))
    if torch.is_grad_enabled():
        convolve = functools.partial(checkpoint, convolve, use_reentrant=False)
    return torch.cat([convolve(*group) for group in zip(x.split(rows), times.split(rows))])


def _check(x: Tensor, times: Tensor) -> None:
    if x.ndim != 3 or times.shape != (x.shape[0], x.shape[2]):
        raise ValueError(
            f"input {tuple(x.shape)} and times {tuple(times.shape)} do not fit: expected "
            "(B, C, L) with (B, L)"
        )


def _convolve(
    x: Tensor,
    times: Tensor,
    kernel_at: Callable[[Tensor], FactoredKernel],
    steps: int,
    reach: float,
    last_step: bool,
) -> Tensor:
    batch, channels, length = x.shape
    widths, own = _widths(times)
    outputs = slice(length - 1, None) if last_step else slice(None)
    lags = times[:, outputs, None] - times[:, None, :]  # (B, I, L)
    rows = torch.arange(length, device=x.device)
    is_past = rows[outputs, None] >= rows  # (I, L)
    weights = torch.where(rows[outputs, None] == rows, own[:, None, :], widths[:, None, :])
    pairs = (is_past & (lags <= reach)).flatten().nonzero()[:, 0]  # (P,)

    distances, which = lags.flatten()[pairs].unique(return_inverse=True)
    positions = 1 - 2 * distances / steps if steps else torch.zeros_like(distances)
    kernel = kernel_at(positions)  # basis (H, N)
    values = kernel.basis[:, which] * weights.flatten()[pairs]  # (H, P)
    functions = values.new_zeros(len(values), lags.numel()).index_copy(1, pairs, values)
    functions = functions.view(-1, *lags.shape).transpose(0, 1).flatten(1, 2)  # (B, H I, L)
    mixed = functions @ x.transpose(1, 2).to(values.dtype)  # (B, H I, C)
    mixed = mixed.view(batch, len(values), -1, channels)
    return torch.einsum("och,bhic->boi", kernel.weight.to(mixed.dtype), mixed)


def _widths(times: Tensor) -> tuple[Tensor, Tensor]:
    """How much time each sample stands for: (B, L) seen from a later one, and from itself."""
    before = torch.diff(times, prepend=times[:, :1] - 1)  # the gap before each sample
    after = torch.diff(times, append=times[:, -1:] + 1)
    return (before + after) / 2, (before + 1) / 2
