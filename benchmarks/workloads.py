"""What is measured: the papers' networks on batches of random numbers."""

from __future__ import annotations

from cfg.schema import Config

import math
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from ckconv.nn import CKConv
from datasets import describe
from datasets.task import Task
from models import build_model
from program.command_line import compose

SIGMAS_2D = (0.075, 0.25, 0.5, 1.0)
SIGMAS_1D = (0.075, 0.3, 1.0)
PRECISIONS = {
    "fp32": ("train.precision=fp32", "train.tf32=False"),
    "tf32": ("train.precision=fp32", "train.tf32=True"),
    "bf16": ("train.precision=bf16", "train.tf32=False"),
}


@dataclass(frozen=True)
class Workload:
    """A network by its preset and flags. `batch`: samples per step; 0: the preset's, an epoch."""

    name: str
    batch: int
    flags: tuple[str, ...]
    is_epoch: bool = False

    def config(self, precision: str = "fp32", extra: tuple[str, ...] = ()) -> Any:
        """The run's config, of a learning rate that moves nothing: kernels keep their size."""
        size = (f"train.batch_size={self.batch}",) if self.batch else ()
        cfg = compose([*self.flags, *size, *PRECISIONS[precision], "train.scheduler=none", *extra])
        cfg.train.lr = 1e-20
        return cfg


def _workloads() -> list[Workload]:
    flexnet7 = "+experiment=cifar10_flexnet7"
    images = [
        Workload(f"flexnet7-32x32-sigma{s}", 16, (flexnet7, f"mask.init_value={s}"))
        for s in SIGMAS_2D
    ]
    images += [
        Workload(f"flexnet7-batch64-sigma{s}", 64, (flexnet7, f"mask.init_value={s}"))
        for s in SIGMAS_2D[:3]
    ]
    images += [
        Workload("ckconv-flexnet7-33x33", 16, ("+experiment=cifar10_ckcnn",)),
        Workload("flexnet7-96x96", 4, ("+experiment=stl10_flexnet7",)),
    ]
    presets = (("smnist", 784, 32), ("scifar10", 1024, 32), ("speechcommands_raw", 16000, 4))
    sequences = [
        Workload(
            f"flextcn2-{length}-sigma{s}",
            batch,
            (f"+experiment={preset}_flextcn2", f"mask.init_value={s}"),
        )
        for preset, length, batch in presets
        for s in SIGMAS_1D
    ]
    sequences.append(Workload("flextcn6-1024", 32, ("+experiment=scifar10_flextcn6",)))
    epochs = [
        Workload(f"cifar10-epoch-sigma{s}", 0, (flexnet7, f"mask.init_value={s}"), is_epoch=True)
        for s in (0.075, 0.25, 1.0)
    ]
    return images + sequences + epochs


WORKLOADS = {workload.name: workload for workload in _workloads()}


@dataclass
class Problem:
    """A workload made ready on a device: its network with kernels of their final size, a batch."""

    workload: Workload
    cfg: Config
    task: Task
    model: nn.Module
    inputs: Tensor  # (B, C, *size)
    target: Tensor  # (B,)
    sizes: dict[str, tuple[int, ...]] = field(default_factory=dict)  # kernels in use, by layer


def make_problem(
    workload: Workload, device: torch.device, precision: str, flags: tuple[str, ...] = ()
) -> Problem:
    """Build the network and a batch of random numbers."""
    torch.manual_seed(0)
    cfg = workload.config(precision, flags)
    task = describe(cfg)
    model = build_model(cfg, task).to(device)
    inputs = torch.randn(cfg.train.batch_size, task.in_channels, *task.size, device=device)
    target = torch.randint(task.out_channels, inputs.shape[:1], device=device)
    with torch.no_grad():
        model.eval()(inputs[:1])  # the first input fixes the kernels' sizes
    return Problem(workload, cfg, task, model, inputs, target, kernel_sizes(model))


def kernel_sizes(model: nn.Module) -> dict[str, tuple[int, ...]]:
    """The kernel sizes in use, by the layers' names."""
    layers = model.named_modules()
    return {name: layer.cropped_size() for name, layer in layers if isinstance(layer, CKConv)}


def multiplications(problem: Problem, mode: str) -> float:
    """Multiply-adds of the step in direct convolutions; a backward pass counts twice a forward."""
    batch, _, *size = problem.inputs.shape
    layers = dict(problem.model.named_modules())
    forward = sum(
        math.prod(k) * layers[name].in_channels * layers[name].out_channels
        for name, k in problem.sizes.items()
    )
    return batch * math.prod(size) * forward * (3 if mode == "train" else 1)
