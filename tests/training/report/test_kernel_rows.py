"""What a run says of kernels that lie at an end of what they can be."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from ckconv import ConvConfig
from ckconv.nn import FlexConv
from training.report.result import kernel_rows


@pytest.mark.parametrize(
    ("sigma", "size", "said"),
    [
        (-0.1, "1×1 of 9×9", ", collapsed to a single sample"),
        (0.25, "5×5 of 9×9", ""),
        (5.0, "9×9", ", at its horizon: a larger conv.horizon may do better"),
    ],
)
def test_the_table_says_when_a_kernel_has_collapsed_or_is_at_its_horizon(sigma, size, said):
    layer = FlexConv(1, 1, conv=ConvConfig(horizon="9"))
    with torch.no_grad():
        layer.mask.sigma.fill_(sigma)
    ((_, text),) = kernel_rows(nn.Sequential(layer))
    assert text == size + said
