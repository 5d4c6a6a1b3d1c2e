"""Where and how a run computes: device, random seed, precision."""

from __future__ import annotations

import math
import os
import random
from contextlib import AbstractContextManager

import numpy as np
import torch

from ckconv.errors import UsageError
from program import distributed


def choose_device(name: str) -> torch.device:
    """The device for `auto`, `cuda` or `cpu`; CUDA that is not there becomes the CPU, with a line
    that says so."""
    if name == "cpu" or (name == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    if not torch.cuda.is_available():
        print("device=cuda: no CUDA device here; running on the CPU")
        return torch.device("cpu")
    if distributed.local_world_size() > torch.cuda.device_count():
        raise UsageError(
            f"--nproc_per_node={distributed.local_world_size()}: every process needs a GPU of its "
            f"own and there are {torch.cuda.device_count()}; start fewer, or use device=cpu"
        )
    return torch.device("cuda", torch.cuda.current_device())


def total_memory(device: torch.device) -> int:
    """The memory of a device, in bytes."""
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).total_memory
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def bytes_text(size: float) -> str:
    """Bytes as `2.1 TB`."""
    units = ("bytes", "kB", "MB", "GB", "TB", "PB", "EB")
    power = min(len(units) - 1, int(math.log10(max(1, size)) // 3))
    return f"{size / 1000**power:.3g} {units[power]}"


def draw_seed() -> int:
    """A seed from the operating system's own randomness, the same in all processes of a run."""
    return distributed.agreed(int.from_bytes(os.urandom(4), "little") >> 1)


def seed_everything(seed: int, deterministic: bool = False) -> None:
    """Seed all random generators; `deterministic` also picks deterministic CUDA algorithms."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    torch.use_deterministic_algorithms(deterministic)
    torch.backends.cudnn.benchmark = not deterministic
    if deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")


def seed_process(seed: int) -> None:
    """Let every process drop out other units; to be called once all have the same weights."""
    if distributed.rank():
        torch.manual_seed((seed + 0x9E3779B1 * distributed.rank()) % 2**63)


def allow_tf32(allowed: bool) -> None:
    """Let CUDA compute float32 products and convolutions in TF32, or not."""
    torch.backends.cuda.matmul.allow_tf32 = allowed
    torch.backends.cudnn.allow_tf32 = allowed


def autocast(device: torch.device, precision: str) -> AbstractContextManager:
    """The context of a forward pass in `fp32` or `bf16`."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bf16")


def place(
    model: torch.nn.Module, device: torch.device, channels_last: str = "auto"
) -> torch.nn.Module:
    """The model on its device; `channels_last`: whether images pass through it in that layout.

    `auto` is yes on a CPU, whose direct convolutions are up to one and a half times as fast so.
    """
    if channels_last == "False" or (channels_last == "auto" and device.type != "cpu"):
        return model.to(device)
    model.register_forward_pre_hook(_images_channels_last)
    return model.to(device, memory_format=torch.channels_last)


def _images_channels_last(
    _: torch.nn.Module, inputs: tuple[torch.Tensor, ...]
) -> tuple[torch.Tensor, ...]:
    x, *others = inputs
    if x.ndim != 4:
        return inputs
    # A single channel is in both layouts at once; only a copy makes the network keep this one.
    return (torch.empty_like(x, memory_format=torch.channels_last).copy_(x), *others)
