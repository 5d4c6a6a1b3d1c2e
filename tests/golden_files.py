"""Reading the published implementation's numbers, and comparing with them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from ckconv import published

ROOT = Path(__file__).resolve().parent.parent
GOLDEN = Path(__file__).resolve().parent / "golden"
VALUE_RTOL = 1e-4
GRADIENT_RTOL = 1e-3

Tensors = dict[str, Tensor]


def load(path: Path) -> tuple[dict, Tensors, Tensors, Tensors]:
    """A golden file's settings, arrays, state and gradients, the latter two by published names."""
    arrays = np.load(path)
    tensors = {name: torch.from_numpy(arrays[name]) for name in arrays.files if name != "config"}
    state, grads = (
        {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
        for prefix in ("state/", "grad/")
    )
    return json.loads(str(arrays["config"])), tensors, state, grads


def settings(config: dict, prefix: str) -> dict:
    """The flags of one group, without its prefix."""
    return {k.removeprefix(prefix): v for k, v in config.items() if k.startswith(prefix)}


def error(got: Tensor, expected: Tensor) -> float:
    """Relative error of a whole tensor."""
    return ((got - expected).norm() / expected.norm().clamp(min=1e-12)).item()


def check_gradients(module: nn.Module, grads: Tensors) -> None:
    """Assert that the parameters' gradients are those of the golden file."""
    own = dict(module.named_parameters())
    expected = published.translate(module, grads)
    assert expected and expected.keys() <= own.keys()
    # A gradient that vanishes but for rounding is judged by the size of the others.
    scale = max(value.norm().item() for value in expected.values())
    for name, value in expected.items():
        difference = (own[name].grad - value).norm().item()
        assert difference <= GRADIENT_RTOL * max(value.norm().item(), 1e-3 * scale), name
