"""Tensors that `torch.vmap` and `torch.func` have put in the place of a layer's own."""

from __future__ import annotations

import torch
from torch import Tensor

_functorch = torch._C._functorch


def is_mapped(x: Tensor) -> bool:
    """Whether x stands for many tensors, of which no single one has numbers to read."""
    if torch.compiler.is_compiling():
        return False
    while _functorch.is_functorch_wrapped_tensor(x):
        if _functorch.is_batchedtensor(x):
            return True
        x = _functorch.get_unwrapped(x)
    return False


def unwrapped(x: Tensor) -> Tensor:
    """The tensor of numbers under what `torch.func` differentiates, for one that is not mapped."""
    while not torch.compiler.is_compiling() and _functorch.is_functorch_wrapped_tensor(x):
        x = _functorch.get_unwrapped(x)
    return x


def only_row(x: Tensor) -> Tensor:
    """The numbers (n,) that all tensors have which x stands for.

    Raises `ValueError` where they differ.
    """
    if x.ndim == 1 and not _functorch.is_functorch_wrapped_tensor(x):
        return x
    while _functorch.is_functorch_wrapped_tensor(x):
        axis = _functorch.maybe_get_bdim(x)
        x = _functorch.get_unwrapped(x)
        x = x if axis < 0 else x.movedim(axis, 0)
    rows = x.reshape(-1, x.shape[-1])
    if not torch.equal(rows, rows[:1].expand_as(rows)):
        raise ValueError(
            f"layers with kernels of different sizes, {rows.unique(dim=0).tolist()}, cannot be "
            "mapped as one; give them the same kernel_size"
        )
    return rows[0]
