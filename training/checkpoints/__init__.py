"""Checkpoints: written so that a kill at any moment leaves a loadable file."""

from __future__ import annotations

from cfg.flags import plain
from cfg.schema import Config

from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from ckconv.checkpoint import FORMAT, is_ours, read
from datasets.task import Loaders, Task
from program import distributed
from program.files import write_tensors

__all__ = ["description", "is_ours", "random_states", "read", "save", "set_random_state"]


def save(path: Path, content: dict[str, Any]) -> None:
    """Write a checkpoint atomically."""
    write_tensors(path, {"format": FORMAT, **content})


def description(cfg: Config, task: Task, loaders: Loaders) -> dict[str, Any]:
    """What `ckconv.load` needs to know beside the weights: the run's config, its task, its data."""
    normalisation = loaders.normalisation
    if normalisation is not None:
        normalisation = {
            "mean": normalisation.mean.cpu().clone(),
            "std": normalisation.std.cpu().clone(),
            "scale": normalisation.scale,
        }
    what = {"config": plain(cfg), "task": asdict(task)}
    return what | {"data": loaders.state, "normalisation": normalisation}


def random_states() -> list[dict[str, Any]]:
    """The state of every process's random generators: torch's, on the CPU and on its own GPU."""
    state = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state()
    return distributed.gathered(state)


def set_random_state(states: list[dict[str, Any]]) -> None:
    """Continue this process's generators from where `random_states` found them, if it did."""
    if distributed.rank() >= len(states):
        return
    state = states[distributed.rank()]
    torch.set_rng_state(state["cpu"])
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"])
