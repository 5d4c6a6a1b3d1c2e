"""An epoch of training as it is: data, augmentation, penalties, optimizer."""

from __future__ import annotations

from cfg.schema import Config

import itertools
import time
from collections.abc import Sequence
from typing import Any

import torch

from benchmarks.backends import Backend
from benchmarks.measure import Settings, wait
from benchmarks.workloads import Workload
from ckconv.nn import CKConv
from datasets import build_loaders
from datasets.task import Loader, Task
from models import build_model
from program import device as runtime
from training.epoch import epoch_steps
from training.evaluation import Totals
from training.state import Training
from training.step import train_step


def time_epoch(
    workload: Workload,
    backends: Sequence[Backend],
    settings: Settings,
    data: str,
) -> dict[str, Any]:
    """Seconds of the second epoch of each backend, in turn; the first one warms up.

    A direct convolution is left out unless everything slow is asked for, as are ordinary
    convolutions: they are not compared by the epoch.
    """
    root = (f"dataset_params.root={data}",) if data else ()
    cfg = workload.config(settings.precision, (*settings.flags, *root))
    seconds = {}
    kernels = []
    for backend in backends:
        if backend.ordinary or (backend.is_direct and not settings.slow):
            continue
        runtime.seed_everything(0)
        task, loaders = build_loaders(cfg, settings.device)
        model = backend.place(build_model(cfg, task), settings.device, cfg)
        training = Training(model, task, cfg, len(loaders.train))
        with backend.active():
            _train(training, loaders.train, task, cfg, 0, settings.device)
            seconds[backend.name] = _train(training, loaders.train, task, cfg, 1, settings.device)
        kernels = sorted(
            {tuple(m.cropped_size()) for m in model.modules() if isinstance(m, CKConv)}
        )
        del model, training
        if settings.device.type == "cuda":
            torch.cuda.empty_cache()
    return {
        "workload": workload.name,
        "precision": settings.precision,
        "kernels": kernels,
        "seconds": seconds,
    }


def _train(
    training: Training, loader: Loader, task: Task, cfg: Config, epoch: int, device: torch.device
) -> float:
    """Train for an epoch; returns its seconds."""
    wait(device)
    started = time.perf_counter()
    training.model.train()
    totals = Totals(task)
    batches = itertools.islice(loader.batches(epoch), epoch_steps(loader, cfg.train))
    for batch in batches:
        train_step(training, batch, task, cfg, totals)
    totals.results()
    wait(device)
    return time.perf_counter() - started
