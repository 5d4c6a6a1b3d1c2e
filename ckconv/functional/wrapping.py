"""Circular padding that is written out."""

from __future__ import annotations

import torch
from torch import Tensor


def wrapped(x: Tensor, axis: int, before: int, after: int) -> Tensor:
    """x with so many samples of its other end, no more than it has, at both ends of `axis`."""
    if torch.compiler.is_compiling():  # it knows no functions with a forward derivative
        return _extended(x, axis, before, after)
    return _Wrap.apply(x, axis, before, after, False)


def _extended(x: Tensor, axis: int, before: int, after: int) -> Tensor:
    n = x.shape[axis]
    return torch.cat((x.narrow(axis, n - before, before), x, x.narrow(axis, 0, after)), axis)


def folded(grad: Tensor, axis: int, first: int, n: int, before: int, after: int) -> Tensor:
    """The gradient for n samples that stand from `first` on, so many of them again at both ends.

    A part of `grad`, which it may overwrite.
    """
    return _with_ends(grad.narrow(axis, first, n), grad, axis, first, before, after)


def _folded(grad: Tensor, axis: int, before: int, after: int) -> Tensor:
    """The gradient of `_extended`; that of its pieces takes ten times as long."""
    x = grad.narrow(axis, before, grad.shape[axis] - before - after).clone()
    return _with_ends(x, grad, axis, before, before, after)


def _with_ends(x: Tensor, grad: Tensor, axis: int, first: int, before: int, after: int) -> Tensor:
    """x, to whose ends what stands in `grad` beside its place from `first` on is added."""
    n = x.shape[axis]
    if before:
        x.narrow(axis, n - before, before).add_(grad.narrow(axis, first - before, before))
    if after:
        x.narrow(axis, 0, after).add_(grad.narrow(axis, first + n, after))
    return x


class _Wrap(torch.autograd.Function):
    """`_extended`, or with `is_back` its gradient, whose gradients are each other."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, axis: int, before: int, after: int, is_back: bool) -> Tensor:
        return (_folded if is_back else _extended)(x, axis, before, after)

    @staticmethod
    def setup_context(ctx, inputs: tuple, output: Tensor) -> None:  # noqa: ANN001
        _, *ctx.how, ctx.is_back = inputs

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN001
        return _Wrap.apply(grad, *ctx.how, not ctx.is_back), None, None, None, None

    @staticmethod
    def jvp(ctx, tangent: Tensor, *_: None) -> Tensor:  # noqa: ANN001
        return _Wrap.apply(tangent, *ctx.how, ctx.is_back)
