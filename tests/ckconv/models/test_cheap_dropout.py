"""Dropout with masks of random bits: unbiased, independent, repeatable, PyTorch's own elsewhere."""

from __future__ import annotations

import pytest
import torch

from ckconv.models.dropout import Dropout


@pytest.mark.parametrize("rate", [0.1, 0.2, 0.5])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_keeps_as_many_as_asked_for_and_the_mean(rate, layout):
    torch.manual_seed(0)
    x = torch.ones(8, 16, 33, 31).contiguous(memory_format=layout).requires_grad_()
    y = Dropout(rate)(x)
    assert abs((y == 0).double().mean().item() - rate) < 0.005  # five standard deviations
    kept = y[y != 0]
    assert torch.allclose(kept, torch.full_like(kept, 1 / (1 - rate)), rtol=1e-4)
    assert y.stride() == x.stride()
    y.sum().backward()
    assert torch.equal(x.grad, y.detach())


def test_neighbours_are_dropped_independently():
    torch.manual_seed(0)
    dropped = (Dropout(0.5)(torch.ones(1 << 18)) == 0).double() - 0.5
    for apart in range(1, 9):
        correlation = 4 * (dropped[apart:] * dropped[:-apart]).mean()
        assert abs(correlation) < 0.01, apart  # five standard deviations
    lanes = dropped.view(-1, 8).mean(0)
    assert lanes.abs().max() < 0.015


def test_follows_the_seed_and_the_generator_state():
    x, drop = torch.randn(3, 5, 7), Dropout(0.3)
    torch.manual_seed(1)
    first, state, second = drop(x), torch.get_rng_state(), drop(x)
    torch.manual_seed(1)
    assert torch.equal(drop(x), first)
    torch.set_rng_state(state)
    assert torch.equal(drop(x), second)
    assert not torch.equal(first, second)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_keeps_the_dtype(dtype):
    assert Dropout(0.2)(torch.ones(4, 5, dtype=dtype)).dtype == dtype


def test_what_is_not_for_bits_is_left_to_pytorch():
    x = torch.randn(6, 8)
    assert torch.equal(Dropout(0.0)(x), x)
    assert not Dropout(1.0)(x).any()
    assert Dropout(0.5).eval()(x) is x
    assert (Dropout(0.5)(x.T[::2]) == 0).any()
    mapped = torch.vmap(Dropout(0.5), randomness="different")(torch.ones(2, 1000))
    assert not torch.equal(mapped[0], mapped[1])
