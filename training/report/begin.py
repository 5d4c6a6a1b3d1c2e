"""What a run says before its first epoch."""

from __future__ import annotations

from cfg.schema import Config

from pathlib import Path

import torch
from torch import nn

from datasets.task import Loaders, Task
from program.distributed import world_size
from program.environment import code_version
from training.epoch import epoch_steps
from training.report.layers import count_parameters


def beginning(
    cfg: Config, task: Task, model: nn.Module, loaders: Loaders, epochs: int, folder: Path
) -> str:
    """What runs, on what, how many steps, and where it is written; whether the code was changed."""
    steps = epoch_steps(loaders.train, cfg.train)
    size = "\u00d7".join(str(n) for n in task.size)
    text = (
        f"{cfg.net.type}, {count_parameters(model):,} parameters, on {task.name} ({size}): "
        f"{loaders.train.num_samples:,} training samples, {epochs} epochs of {steps} steps with "
        f"batches of {cfg.train.batch_size}, on {_place(next(model.parameters()).device)}; "
        f"files in {folder}"
    )
    if code_version()["dirty"]:
        text += (
            "\nthe code has changes that are not committed: experiments.collect leaves this run "
            "out, or with --dirty marks it"
        )
    return text


def _place(device: torch.device) -> str:
    if device.type == "cuda":
        place = torch.cuda.get_device_name(device)
    else:
        threads = torch.get_num_threads()
        place = f"the CPU ({threads} thread{'s' if threads > 1 else ''})"
    return f"{place}, {world_size()} processes" if world_size() > 1 else place
