"""What a profile counts, on steps whose time and memory are known."""

from __future__ import annotations

import time

import pytest
import torch
from torch import nn

from ckconv import ConvConfig, MaskConfig
from ckconv.nn import FlexConv
from training.profiling.measure import marked, measure, peak_memory, state_bytes

CPU = torch.device("cpu")


class Slow(torch.autograd.Function):
    """The identity, which takes its time: 20 ms forwards, 60 ms backwards."""

    @staticmethod
    def forward(ctx, x):
        time.sleep(0.02)
        return x.clone()

    @staticmethod
    def backward(ctx, grad):
        time.sleep(0.06)
        return grad


class SlowConv(nn.Conv1d):
    def forward(self, x):
        return super().forward(Slow.apply(x))


class SlowKernel(FlexConv):
    def _factor(self, hidden, axes):
        return super()._factor(Slow.apply(hidden), axes)


def profile_of(model: nn.Module, outside: bool = False, steps: int = 2):
    x = torch.randn(2, 3, 16, requires_grad=True)

    def step() -> None:
        y = model(x)
        (Slow.apply(y) if outside else y).sum().backward()

    step()
    return measure(step, model, steps, CPU, None)


def test_a_layers_backward_pass_counts_as_its_own():
    model = nn.Sequential(SlowConv(3, 3, 3), nn.ReLU(), nn.Conv1d(3, 3, 3))
    layers = profile_of(model).layers()
    assert layers["0"]["convolution"] >= 80 > layers["2"]["convolution"]
    assert layers["0"]["generation"] == layers["0"]["masking"] == 0


def test_generation_is_told_from_convolution():
    layer = SlowKernel(3, 3, 1, conv=ConvConfig(horizon="9"), mask=MaskConfig(init_value=0.5))
    found = profile_of(nn.Sequential(layer))
    times = found.layers()["0"]
    assert times["generation"] >= 80
    assert 0 < times["convolution"] < times["generation"]
    assert 0 < times["masking"] < times["generation"]
    assert found.shares()["generation"] > 0.4


def test_what_no_layer_does_is_the_rest():
    found = profile_of(nn.Sequential(nn.Conv1d(3, 3, 3)), outside=True)
    shares = found.shares()
    assert shares["the rest"] > shares["convolution"] > 0 and sum(shares.values()) == pytest.approx(
        1
    )
    own = sum(own for _, _, own, _ in found.costliest())
    assert own == pytest.approx(found.per_step(found.total), rel=1e-3)
    costliest = dict((name, own) for name, _, own, _ in found.costliest())
    assert 20 <= costliest["Slow"] < costliest["SlowBackward"] and costliest["SlowBackward"] >= 60
    assert found.seconds_per_step >= 0.08


def test_the_layers_are_left_as_they_were():
    layer = FlexConv(3, 3, 1)
    model = nn.Sequential(layer, nn.Conv1d(3, 3, 3))
    before = [dict(vars(module)) for module in model.modules()]
    with pytest.raises(RuntimeError), marked(model):
        assert len(model[1]._forward_hooks) == 1
        model[1](torch.randn(1, 4, 16))  # fails, inside its range
    assert [vars(module) for module in model.modules()] == before


def test_peak_memory():
    """4 MB live through the step, 8 MB come and go, then 2 MB: never more than 12 MB at once."""

    def step() -> None:
        first = torch.empty(1_000_000)
        second = torch.empty(2_000_000)
        del second
        third = torch.empty(500_000)
        del first, third

    assert peak_memory(step, CPU) == pytest.approx(12_000_000, abs=1000)


def test_the_bytes_of_a_state():
    model = nn.Linear(10, 10, bias=False)
    optimizer = torch.optim.Adam(model.parameters())
    x = torch.zeros(50)
    assert state_bytes(model, optimizer, x, x[:5]) == 400 + 200
    model(torch.ones(10)).sum().backward()
    optimizer.step()
    assert state_bytes(model, optimizer) == pytest.approx(3 * 400, abs=8)
