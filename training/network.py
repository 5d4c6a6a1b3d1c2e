"""The network that a program works with: built, loaded, synchronised, placed."""

from __future__ import annotations

from cfg.schema import Config

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from datasets.task import Task
from models import build_model
from program import device, distributed
from program.sync_batchnorm import synchronize_batchnorm
from training.checkpoints import pretrained
from training.memory import check_memory
from training.report.summary import print_summary
from training.sampling_rate import fix_kernel_sizes


def prepared_network(
    cfg: Config, task: Task, folder: Path, saved: dict[str, Any] | None = None
) -> tuple[nn.Module, dict[str, Tensor], torch.device]:
    """The network of `cfg`, the data set's tensors that its weights belong to, and the device.

    Seeds all random generators first. All processes of the run have the same weights: those of
    `pretrained`, or fresh ones. `saved` is the last checkpoint of a run that is continued, which
    brings weights of its own into `fit`. Raises `UsageError` for a network that cannot be built,
    loaded or placed.
    """
    place = device.choose_device(cfg.device)
    check_memory(cfg, task, place)
    device.allow_tf32(cfg.train.tf32)
    device.seed_everything(cfg.seed, cfg.deterministic)
    model = build_model(cfg, task)
    fix_kernel_sizes(model, task)  # before any process, copy or checkpoint has a size of its own
    print_summary(model, list(cfg.summary), cfg.summary_depth)
    state = saved["data"] if saved else pretrained.load_given(model, cfg, folder)
    if cfg.train.sync_batchnorm:
        model = synchronize_batchnorm(model)
    model = device.place(model, place, cfg.train.channels_last)
    distributed.share_weights(model)
    device.seed_process(cfg.seed)
    return model, state, place
