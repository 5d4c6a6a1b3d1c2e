"""Training that diverges ends with a sentence, before anything that is good is overwritten."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from ckconv.errors import UsageError
from program import distributed


def check_loss(loss: Tensor, step: int, epoch: int, lr: float) -> None:
    """Raise `UsageError` for a step's loss, over all processes, that is infinite or no number."""
    mean = distributed.mean_over_ranks(loss).item()
    if not math.isfinite(mean):
        raise UsageError(f"the loss is {mean} at step {step} of epoch {epoch + 1}: {_advice(lr)}")


def check_row(row: Mapping[str, float], lr: float) -> None:
    """Raise `UsageError` for an epoch's results of which one is infinite or not a number."""
    for name, value in row.items():
        if not math.isfinite(value):
            raise UsageError(
                f"the {name.replace('_', ' ')} of epoch {int(row['epoch'])} is {value}: "
                f"{_advice(lr)}"
            )


def check_weights(model: nn.Module, epoch: int, lr: float) -> None:
    """Raise `UsageError` for weights or buffers that are infinite or not numbers."""
    name = not_finite(model.state_dict())
    if name:
        raise UsageError(
            f"the weights are not finite after epoch {epoch} ({name}): {_advice(lr)}; "
            "the last checkpoint is as it was"
        )


def check_results(split: str, results: Mapping[str, float]) -> None:
    """Raise `UsageError` for results of a trained network that cannot be reported."""
    for name, value in results.items():
        if not math.isfinite(value):
            raise UsageError(
                f"the {split} {name} is {value}: the network's outputs are not finite; its weights "
                "or the data hold numbers that are too large"
            )


def not_finite(state: Mapping[str, object]) -> str | None:
    """The name of a tensor that holds an infinite number or none; None where all are finite."""
    tensors = {
        name: value
        for name, value in state.items()
        if isinstance(value, torch.Tensor) and value.is_floating_point()
    }
    if not tensors:
        return None
    found = torch.stack([value.isfinite().all() for value in tensors.values()])  # read at once
    return None if found.all() else list(tensors)[int(found.int().argmin())]


def _advice(lr: float) -> str:
    return f"training diverged; lower train.lr={lr}, or set train.grad_clip"
