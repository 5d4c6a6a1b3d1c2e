"""Where and how a run computes: device, random seed, precision."""

from __future__ import annotations

import os
import random
from contextlib import AbstractContextManager

import numpy as np
import torch


def choose_device(name: str) -> torch.device:
    """The device for `auto`, `cuda` or `cpu`; CUDA that is not there becomes the CPU, with a line
    that says so."""
    if name == "cpu" or (name == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    if not torch.cuda.is_available():
        print("device=cuda: no CUDA device here; running on the CPU")
        return torch.device("cpu")
    return torch.device("cuda", torch.cuda.current_device())


def draw_seed() -> int:
    """A seed from the operating system's own randomness."""
    return int.from_bytes(os.urandom(4), "little") >> 1


def seed_everything(seed: int, deterministic: bool = False) -> None:
    """Seed all random generators; `deterministic` also picks deterministic CUDA algorithms."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    torch.use_deterministic_algorithms(deterministic)
    torch.backends.cudnn.benchmark = not deterministic
    if deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")


def allow_tf32(allowed: bool) -> None:
    """Let CUDA compute float32 products and convolutions in TF32, or not."""
    torch.backends.cuda.matmul.allow_tf32 = allowed
    torch.backends.cudnn.allow_tf32 = allowed


def autocast(device: torch.device, precision: str) -> AbstractContextManager:
    """The context of a forward pass in `fp32` or `bf16`."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bf16")


def place(
    model: torch.nn.Module, device: torch.device, channels_last: bool = False
) -> torch.nn.Module:
    """The model on its device, in channels-last layout where asked."""
    if channels_last:
        return model.to(device, memory_format=torch.channels_last)
    return model.to(device)
