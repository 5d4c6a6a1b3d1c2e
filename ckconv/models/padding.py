"""Batches of sequences that are padded on the right: their own steps alone count."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int


def own_steps(
    x: Float[Tensor, "B channels *size"], lengths: Int[Tensor, " B"] | None
) -> Bool[Tensor, "B 1 L"] | None:
    """Which steps of x (B, C, L) are a sequence's own, (B, 1, L) of bool; None without `lengths`.

    `lengths` (B,) are whole numbers from 1 to L. Raises `ValueError` for others: a sentence is
    worth waiting for the device.
    """
    if lengths is None:
        return None
    if x.ndim != 3:
        raise ValueError(f"lengths: they are for sequences (B, C, L), not {tuple(x.shape)}")
    lengths = torch.as_tensor(lengths, device=x.device)
    if lengths.shape != x.shape[:1] or lengths.is_floating_point():
        raise ValueError(
            f"lengths: of shape {tuple(lengths.shape)} and type {lengths.dtype}; a batch "
            f"{tuple(x.shape)} needs {x.shape[0]} whole numbers"
        )
    is_recorded = torch.compiler.is_compiling() or torch.jit.is_tracing()  # without values
    if is_recorded or not lengths.numel():
        pass
    elif not 1 <= int(lengths.min()) <= int(lengths.max()) <= x.shape[2]:
        raise ValueError(
            f"lengths: from {int(lengths.min())} to {int(lengths.max())}; give numbers from 1 to "
            f"{x.shape[2]}, the steps of the batch"
        )
    return torch.arange(x.shape[2], device=x.device) < lengths[:, None, None]


def without_padding(
    x: Float[Tensor, "B channels *size"], own: Bool[Tensor, "B 1 L"] | None
) -> Float[Tensor, "B channels *size"]:
    """x (B, C, L) with zeros in its padding, whatever stood there, as at a sequence's end."""
    return x if own is None else torch.where(own, x, torch.zeros_like(x))


def last_own_step(
    x: Float[Tensor, "B channels L"], own: Bool[Tensor, "B 1 L"] | None
) -> Float[Tensor, "B channels"]:
    """The last step of each sequence, (B, C, L) -> (B, C)."""
    if own is None:
        return x[..., -1]
    last = own.sum(dim=2, keepdim=True) - 1  # (B, 1, 1)
    return x.gather(2, last.expand(-1, x.shape[1], 1)).squeeze(2)


def normalize(
    norm: nn.Module,
    x: Float[Tensor, "B channels *size"],
    own: Bool[Tensor, "B 1 L"] | None,
) -> Float[Tensor, "B channels *size"]:
    """`norm` of x (B, C, L), with statistics over the sequences' own steps alone.

    For norms over the batch, and those over one sequence's channels and steps.
    """
    if own is None:
        return norm(x)
    if isinstance(norm, nn.GroupNorm):
        return _group_norm(norm, x, own)
    if not norm.training and getattr(norm, "track_running_stats", True):
        return norm(x)
    y = torch.zeros_like(x).transpose(1, 2)  # (B, L, C)
    steps = own[:, 0]
    y[steps] = norm(x.transpose(1, 2)[steps]).to(y.dtype)  # (own steps, C)
    return y.transpose(1, 2)


def _group_norm(norm: nn.GroupNorm, x: Tensor, own: Tensor) -> Tensor:
    groups = x.float().unflatten(1, (norm.num_groups, -1))  # (B, G, C / G, L)
    inside = own[:, None]
    count = inside.sum(3, keepdim=True) * groups.shape[2]
    mean = torch.where(inside, groups, 0.0).sum((2, 3), keepdim=True) / count
    centred = torch.where(inside, groups - mean, 0.0)
    variance = centred.square().sum((2, 3), keepdim=True) / count
    y = (centred * torch.rsqrt(variance + norm.eps)).flatten(1, 2)
    if norm.affine:
        y = y * norm.weight[:, None] + norm.bias[:, None]
    return y.to(x.dtype)
