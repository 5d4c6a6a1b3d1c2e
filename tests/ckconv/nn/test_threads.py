"""One layer that several threads train or evaluate at once."""

from __future__ import annotations

import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
import torch
from torch import Tensor

from ckconv import ConvConfig, FlexConv, KernelConfig, MaskConfig, penalties
from ckconv.nn import recorded_kernels

THREADS, ROUNDS = 8, 12


@pytest.fixture
def layer() -> FlexConv:
    torch.manual_seed(0)
    return FlexConv(
        2,
        3,
        dim=2,
        kernel=KernelConfig(no_hidden=8),
        conv=ConvConfig(horizon="9"),
        mask=MaskConfig(init_value=0.3),
    )


@pytest.fixture
def hasty():
    """Threads that take turns as often as can be."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def by_last_kernel(layer: FlexConv, x: Tensor) -> Tensor:
    return layer(x).square().mean() + layer.conv_kernel.square().sum()


def by_record(layer: FlexConv, x: Tensor) -> Tensor:
    with recorded_kernels(layer) as kernels:
        loss = layer(x).square().mean()
    return loss + penalties.kernel_norm(layer, kernels)


@pytest.mark.parametrize("loss_of", [by_last_kernel, by_record])
def test_each_thread_has_the_gradients_of_its_own_pass(
    layer: FlexConv, hasty: None, loss_of: Callable[[FlexConv, Tensor], Tensor]
):
    """A kernel that another thread's pass left has that one's graph, which may be gone."""
    inputs = torch.randn(THREADS, 2, 2, 12, 12)

    def gradients(x: Tensor) -> list[Tensor]:
        return torch.autograd.grad(loss_of(layer, x), list(layer.parameters()))

    alone = [gradients(x) for x in inputs]
    start = Barrier(THREADS)

    def work(index: int) -> None:
        start.wait()
        for _ in range(ROUNDS):
            for found, expected in zip(gradients(inputs[index]), alone[index]):
                torch.testing.assert_close(found, expected)

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(work, range(THREADS)))
