"""Products of tensors that PyTorch can differentiate to any order, and map, though hand-made.

The product is linear in each of its factors. So are its gradients, from which follow the
derivatives of any order: each is the same product with some of its factors exchanged.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from ckconv.functional.ways import full_precision


@runtime_checkable
class Multilinear(Protocol):
    """A product and its gradients, which need not be differentiable themselves."""

    def product(self, *factors: Tensor) -> Tensor:
        """The product."""

    def gradient(self, *factors_and_grad: Tensor) -> tuple[Tensor, ...]:
        """The gradients for the factors, from them and the product's gradient, the last."""


def apply(operation: Multilinear, *factors: Tensor) -> Tensor:
    """The operation's product, known to autograd and to `torch.func`."""
    return _Product.apply(operation, *factors)


class _Function(torch.autograd.Function):
    @staticmethod
    def setup_context(ctx, inputs: tuple, output: object) -> None:  # noqa: ANN001
        ctx.operation, *tensors = inputs
        ctx.save_for_backward(*tensors)
        ctx.save_for_forward(*tensors)


class _Product(_Function):
    @staticmethod
    def forward(operation: Multilinear, *factors: Tensor) -> Tensor:
        with full_precision(factors[0].device):
            return operation.product(*factors)

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN001
        return None, *_Gradient.apply(ctx.operation, *ctx.saved_tensors, grad)

    @staticmethod
    def jvp(ctx, _: None, *tangents: Tensor | None) -> Tensor:  # noqa: ANN001
        return _product_rule(ctx.operation, ctx.saved_tensors, tangents)

    @staticmethod
    def vmap(info, in_dims: tuple, *args: object) -> tuple[Tensor, int]:  # noqa: ANN001
        return torch.stack([_Product.apply(*one) for one in _unmapped(info, in_dims, args)]), 0


class _Gradient(_Function):
    @staticmethod
    def forward(operation: Multilinear, *tensors: Tensor) -> tuple[Tensor, ...]:
        with full_precision(tensors[0].device):  # a backward pass may be under autocast too
            return operation.gradient(*tensors)

    @staticmethod
    def backward(ctx, *grads: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN001
        *factors, grad = ctx.saved_tensors
        total: list = [None] * len(factors)
        for i, j, part in _exchanged(ctx.operation, factors, grads, grad):
            if i != j:  # a factor's gradient is linear in the others
                total[j] = part if total[j] is None else total[j] + part
        return None, *total, _product_rule(ctx.operation, factors, grads)

    @staticmethod
    def jvp(ctx, _: None, *tangents: Tensor | None) -> tuple[Tensor, ...]:  # noqa: ANN001
        *factors, grad = ctx.saved_tensors
        own = torch.zeros_like(grad) if tangents[-1] is None else tangents[-1]
        total = list(_Gradient.apply(ctx.operation, *factors, own))
        for i, j, part in _exchanged(ctx.operation, factors, tangents[:-1], grad):
            total[j] = total[j] if i == j else total[j] + part
        return tuple(total)

    @staticmethod
    def vmap(info, in_dims: tuple, *args: object) -> tuple[tuple, tuple]:  # noqa: ANN001
        results = [_Gradient.apply(*one) for one in _unmapped(info, in_dims, args)]
        stacked = tuple(torch.stack(parts) for parts in zip(*results))
        return stacked, (0,) * len(stacked)


def _product_rule(
    operation: Multilinear, factors: Sequence[Tensor], others: Sequence[Tensor | None]
) -> Tensor:
    """The sum of the products in which one factor each is exchanged for its like in `others`."""
    terms = [
        _Product.apply(operation, *_with(factors, i, other))
        for i, other in enumerate(others)
        if other is not None
    ]
    return sum(terms[1:], start=terms[0])


def _exchanged(
    operation: Multilinear,
    factors: Sequence[Tensor],
    others: Sequence[Tensor | None],
    grad: Tensor,
) -> list[tuple[int, int, Tensor]]:
    """(i, j, gradient for factor j) with factor i exchanged for its like in `others`."""
    return [
        (i, j, part)
        for i, other in enumerate(others)
        if other is not None
        for j, part in enumerate(_Gradient.apply(operation, *_with(factors, i, other), grad))
    ]


def _with(factors: Sequence[Tensor], i: int, other: Tensor) -> list[Tensor]:
    return [other if i == j else factor for j, factor in enumerate(factors)]


def _unmapped(info, in_dims: tuple, args: tuple) -> list[list]:  # noqa: ANN001
    """The arguments of each call that `torch.vmap` has made one of."""
    return [
        [a if d is None else a.select(d, i) for a, d in zip(args, in_dims)]
        for i in range(info.batch_size)
    ]


def run_size(numbers: Mapping[str, int], device: torch.device) -> int:
    """Numbers of a run, given by a device's type; a CPU's for each thread, of up to eight."""
    threads = min(torch.get_num_threads(), 8) if device.type == "cpu" else 1
    return threads * numbers.get(device.type, 1 << 24)


def runs(total: int, numbers_each: int, at_once: int) -> list[slice]:
    """Runs of `total` things of so many numbers each, a run of about `at_once` numbers."""
    step = max(1, at_once // max(numbers_each, 1))
    return [slice(start, start + step) for start in range(0, total, step)]
