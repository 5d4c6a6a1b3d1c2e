"""A network's layers and sizes, printed."""

from __future__ import annotations

import copy

import torch
import torchinfo
from torch import nn


def print_summary(model: nn.Module, shape: list[int], depth: int) -> None:
    """Print the network's layers at an input shape; `[0]` for none. The network stays untouched."""
    if shape == [0]:
        return
    model = copy.deepcopy(model).eval()
    with torch.random.fork_rng(), torch.no_grad():
        model(torch.zeros(shape))  # the first input fixes the kernels' sizes
        print(torchinfo.summary(model, input_size=shape, depth=depth, device="cpu", verbose=0))
