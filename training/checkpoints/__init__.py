"""Checkpoints: written so that a kill at any moment leaves a loadable file."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from ckconv.checkpoint import FORMAT, is_ours, read
from datasets.task import Loaders, Task
from program.files import write_tensors

__all__ = ["description", "is_ours", "random_state", "read", "save", "set_random_state"]


def save(path: Path, content: dict[str, Any]) -> None:
    """Write a checkpoint atomically."""
    write_tensors(path, {"format": FORMAT, **content})


def description(task: Task, loaders: Loaders) -> dict[str, Any]:
    """What `ckconv.load` needs to know beside the config and the weights."""
    normalisation = loaders.normalisation
    if normalisation is not None:
        normalisation = {
            "mean": normalisation.mean.cpu().clone(),
            "std": normalisation.std.cpu().clone(),
            "scale": normalisation.scale,
        }
    return {"task": asdict(task), "normalisation": normalisation}


def random_state() -> dict[str, Any]:
    """The state of this process's random generators: torch's, on the CPU and on its own GPU."""
    state = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state()
    return state


def set_random_state(state: dict[str, Any]) -> None:
    """Continue torch's random generators from where `random_state` found them."""
    torch.set_rng_state(state["cpu"])
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"])
