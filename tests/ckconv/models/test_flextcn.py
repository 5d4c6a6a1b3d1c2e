"""What FlexTCN and FlexNet read from a sequence."""

from __future__ import annotations

import pytest
import torch

from ckconv import ConvConfig, MaskConfig
from models import FlexNet, FlexTCN, NetConfig


@pytest.mark.parametrize("norm", ["BatchNorm", "LayerNorm"])
@pytest.mark.parametrize("make", [FlexTCN, lambda i, o, **parts: FlexNet(i, o, 1, **parts)])
def test_last_step_is_that_of_the_whole_sequence(make, norm):
    torch.manual_seed(0)
    parts = {"net": NetConfig(no_hidden=6, norm=norm), "mask": MaskConfig(init_value=0.5)}
    model = make(2, 5, **parts).double()
    x = torch.randn(3, 2, 30, dtype=torch.float64)
    model(x)  # moves BatchNorm's statistics
    model.eval()
    short = model(x)
    model.per_step = True
    assert torch.allclose(short, model(x)[..., -1])


@pytest.mark.parametrize("conv", ["FlexConv", "CKConv", "Conv"])
def test_no_output_reads_a_later_step(conv):
    torch.manual_seed(0)
    config = ConvConfig(type=conv, horizon="5" if conv == "Conv" else "same")
    model = FlexTCN(2, 5, NetConfig(no_hidden=6), conv=config, per_step=True).double().eval()
    x = torch.randn(3, 2, 30, dtype=torch.float64)
    y = model(x)
    x[..., 20:] += 1
    changed = model(x)
    assert torch.allclose(y[..., :20], changed[..., :20])
    assert not torch.allclose(y[..., 20], changed[..., 20])
