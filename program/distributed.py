"""Several processes that train one network together, as PyTorch's launcher `torchrun` starts them.

Every process has its share of each batch; gradients and results are summed over the processes,
and process 0 alone writes and prints. Without `torchrun` all of this does nothing.
"""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.rendezvous import rendezvous
from torch.nn.modules.batchnorm import _BatchNorm

from ckconv.errors import UsageError

LAUNCHED = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
TIMEOUT = timedelta(minutes=10)  # for the others to reach the same step
NAME_PATIENCE = 30.0  # seconds for a machine's name to become known, as clusters start them
PREPARATION_TIMEOUT = timedelta(hours=12)  # for one of them to fetch and decode a data set

_store: dist.Store | None = None  # where processes leave notes for each other
_preparation: dist.ProcessGroup | None = None


class LostProcessError(UsageError):
    """Another process of the run has ended or no longer answers."""


def setup() -> None:
    """Join the processes that the environment names, if it does, as under `torchrun`.

    NCCL carries what is on GPUs, Gloo what is on CPUs. Every process computes on the GPU of its
    local number, and only process 0 prints.
    """
    global _store, _preparation
    _check_environment()
    if not all(name in os.environ for name in LAUNCHED) or dist.is_initialized():
        return
    _find_host(os.environ["MASTER_ADDR"])
    backend = "gloo"
    if torch.cuda.is_available() and local_world_size() <= torch.cuda.device_count():
        torch.cuda.set_device(local_rank())
        backend = "cpu:gloo,cuda:nccl"
    try:
        _store, rank, size = next(iter(rendezvous("env://", timeout=TIMEOUT)))
        dist.init_process_group(backend, store=_store, rank=rank, world_size=size, timeout=TIMEOUT)
    except (RuntimeError, ValueError, OverflowError) as error:
        given = " ".join(f"{name}={os.environ[name]}" for name in LAUNCHED)
        raise UsageError(
            f"{given}: the processes of this run cannot meet there; start them with torchrun, or "
            "unset these variables"
        ) from error
    _preparation = dist.new_group(backend="gloo", timeout=PREPARATION_TIMEOUT)
    if rank:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115, kept open until the process ends


def _check_environment() -> None:
    """Raise `UsageError` for what no launcher sets."""
    for name in (*LAUNCHED, "LOCAL_RANK", "LOCAL_WORLD_SIZE"):
        given = os.environ.get(name, "0")
        if name != "MASTER_ADDR" and not (given.isascii() and given.isdigit()):
            raise UsageError(
                f"{name}={given}: is not a number; start the processes with torchrun, which sets "
                "this variable, or unset it"
            )
    for rank, size in (("RANK", "WORLD_SIZE"), ("LOCAL_RANK", "LOCAL_WORLD_SIZE")):
        if {rank, size} <= os.environ.keys() and int(os.environ[rank]) >= int(os.environ[size]):
            raise UsageError(
                f"{rank}={os.environ[rank]} {size}={os.environ[size]}: processes are counted from "
                "0; start them with torchrun, which sets these variables, or unset them"
            )


def _find_host(name: str) -> None:
    """Raise `UsageError` for a machine that nobody knows; PyTorch would look for it silently."""
    end = time.monotonic() + NAME_PATIENCE
    while True:
        try:
            socket.getaddrinfo(name, None)
            return
        except (OSError, UnicodeError) as error:  # as for a name with an empty part
            if time.monotonic() > end:
                raise UsageError(
                    f"MASTER_ADDR={name}: no machine of this name is known here; start the "
                    "processes with torchrun, which sets this variable, or unset it"
                ) from error
            time.sleep(1)


def shutdown() -> None:
    """Leave the other processes, at the end of a run that went well."""
    if dist.is_initialized():
        dist.destroy_process_group()


def rank() -> int:
    """The number of this process."""
    return dist.get_rank() if dist.is_initialized() else 0


def world_size() -> int:
    """The number of processes."""
    return dist.get_world_size() if dist.is_initialized() else 1


def is_main() -> bool:
    """Whether this process writes the run's files and shows its progress."""
    return rank() == 0


def local_rank() -> int:
    """The number of this process on its machine."""
    return int(os.environ.get("LOCAL_RANK", 0))


def local_world_size() -> int:
    """The number of processes on this machine."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", 1))


def is_first_to_speak() -> bool:
    """Whether no other process has said why the run ends: one message for all of them."""
    if world_size() == 1:
        return True
    try:
        return _store.add("has_spoken", 1) == 1
    except RuntimeError:  # the store went with the process that kept it
        return False


@contextmanager
def _together() -> Iterator[None]:
    """Around an exchange between the processes: raises `LostProcessError` where one is missing."""
    try:
        yield
    except RuntimeError as error:
        raise LostProcessError(
            "another process of this run has ended or does not answer, and this one stops too; "
            "with train.resume the run goes on from its last checkpoint"
        ) from error


def sum_over_ranks(values: Tensor) -> Tensor:
    """The sum of a tensor over all processes; the tensor itself is left as it is."""
    if world_size() == 1:
        return values
    with _together():
        values = values.clone()
        dist.all_reduce(values)
        return values


def mean_over_ranks(values: Tensor) -> Tensor:
    """The mean of a tensor over all processes."""
    return sum_over_ranks(values) / world_size() if world_size() > 1 else values


def any_rank(condition: bool) -> bool:
    """Whether a condition holds in any process."""
    if world_size() == 1:
        return condition
    return bool(sum_over_ranks(torch.tensor(int(condition))))  # on the CPU: no GPU is waited for


def agreed(value: Any) -> Any:
    """Process 0's value of something that each process found for itself."""
    if world_size() == 1:
        return value
    values = [value]
    with _together():
        dist.broadcast_object_list(values, src=0, device=torch.device("cpu"))
    return values[0]


def gathered(value: Any) -> list[Any]:
    """Every process's value, in their order."""
    if world_size() == 1:
        return [value]
    values = [None] * world_size()
    with _together():
        dist.all_gather_object(values, value, group=_preparation)
    return values


def barrier() -> None:
    """Wait until all processes are here, for as long as preparing a data set may take."""
    if world_size() > 1:
        with _together():
            dist.barrier(group=_preparation)


@contextmanager
def first_on_machine() -> Iterator[None]:
    """Let one process of each machine go first, so that it fetches what all of them read."""
    if local_rank():
        barrier()
    yield
    if not local_rank():
        barrier()


@torch.no_grad()
def average_gradients(model: nn.Module) -> None:
    """Replace gradients by their means over all processes, and BatchNorm's running statistics too.

    Each process has a batch's mean loss over equally many samples, so that these are the gradients
    of the whole batch. The statistics stay the same everywhere: any process can be saved or tested.
    """
    if world_size() == 1:
        return
    _average([p.grad for p in model.parameters() if p.grad is not None])
    _average([s for norm in model.modules() for s in _statistics(norm)])


def _statistics(module: nn.Module) -> list[Tensor]:
    if not isinstance(module, _BatchNorm) or module.running_mean is None:
        return []
    return [module.running_mean, module.running_var]


def _average(tensors: list[Tensor]) -> None:
    """Average tensors over all processes in one exchange."""
    if not tensors:
        return
    flat = mean_over_ranks(torch.cat([tensor.flatten() for tensor in tensors]))
    for tensor, mean in zip(tensors, flat.split([tensor.numel() for tensor in tensors])):
        tensor.copy_(mean.view_as(tensor))


@torch.no_grad()
def share_weights(model: nn.Module) -> None:
    """Give every process the weights and buffers of process 0."""
    if world_size() == 1:
        return
    with _together():
        for tensor in (*model.parameters(), *model.buffers()):
            dist.broadcast(tensor, src=0)
