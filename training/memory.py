"""Whether a network's kernels fit into the machine at all, before anything is built."""

from __future__ import annotations

from cfg.schema import Config

import math

import torch

from ckconv.config import parse_horizon
from ckconv.errors import UsageError
from datasets.task import Task
from models import ALIASES
from program.device import bytes_text, total_memory

BYTES = 4  # of a float32


def check_memory(cfg: Config, task: Task, device: torch.device) -> None:
    """Raise `UsageError`, with the figure, where a layer's kernel alone outgrows the memory.

    Counted are the least that must be there at once: the generator's last hidden values at all
    positions of the kernel, as far as the mask leaves them, and the generators' own weights.
    """
    available = total_memory(device)
    for flag, needed in (("conv.horizon", kernel_bytes(cfg, task)), *weight_bytes(cfg).items()):
        if needed > available:
            section, _, name = flag.partition(".")
            raise UsageError(
                f"{flag}={getattr(getattr(cfg, section), name)}: needs at least "
                f"{bytes_text(needed)} of memory, and there are {bytes_text(available)}; give less"
            )


def kernel_bytes(cfg: Config, task: Task) -> float:
    """The generator's hidden values at the positions of one kernel; 0 where none is generated."""
    horizon = parse_horizon(cfg.conv.horizon)
    if cfg.conv.type not in ("FlexConv", "CKConv") or isinstance(horizon, str):
        return 0.0
    share, sigma = (0.5 if task.dim == 1 else 1.0), cfg.mask.init_value  # 1-D masks are causal
    is_cropped = cfg.conv.type == "FlexConv" and cfg.mask.use and cfg.mask.dynamic_cropping
    if is_cropped and not isinstance(sigma, str):  # auto: a step may take it to the horizon
        share *= min(1.0, sigma * math.sqrt(-2 * math.log(cfg.mask.threshold)))
    samples = max(1.0, horizon * share) ** task.dim
    return BYTES * samples * cfg.kernel.no_hidden


def weight_bytes(cfg: Config) -> dict[str, float]:
    """The least that the weights of a continuous network take, by the flag that decides it."""
    if ALIASES.get(cfg.net.type, cfg.net.type) not in ("FlexNet", "FlexTCN"):
        return {}
    layers = 2 * cfg.net.no_blocks
    generator = layers * (cfg.kernel.no_layers - 1) * cfg.kernel.no_hidden**2
    outputs = layers * cfg.net.no_hidden**2 / cfg.conv.groups
    if cfg.conv.type not in ("FlexConv", "CKConv"):
        return {"net.no_hidden": BYTES * outputs}
    outputs *= cfg.kernel.no_hidden
    return {"kernel.no_hidden": BYTES * generator, "net.no_hidden": BYTES * outputs}
