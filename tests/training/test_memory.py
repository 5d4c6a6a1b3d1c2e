"""What would need more memory than the machine has is refused, with the figure."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ckconv import UsageError
from datasets import describe
from program.command_line import compose
from program.device import bytes_text, total_memory
from program.words.mistakes import sentence
from training.memory import check_memory, kernel_bytes

CPU = torch.device("cpu")


def check(*flags: str) -> None:
    cfg = compose(flags)
    check_memory(cfg, describe(cfg), CPU)


@pytest.mark.parametrize(
    ("flag", "more", "figure"),
    [
        ("conv.horizon=1000001", ("conv.type=CKConv",), "128 TB"),  # 4 bytes, 32 units, squared
        ("conv.horizon=1000001", (), "128 TB"),  # a step may take an automatic mask to its end
        ("conv.horizon=1000001", ("mask.init_value=0.075",), "3.32 TB"),  # 16 % of either side
        ("kernel.no_hidden=65536", ("net.no_blocks=1000",), "68.7 TB"),
        ("net.no_hidden=65536", ("net.no_blocks=1000",), "1.1 PB"),
    ],
)
def test_a_network_beyond_the_machine_is_refused(flag, more, figure):
    with pytest.raises(UsageError) as error:
        check(flag, *more)
    assert str(error.value).startswith(f"{flag}: needs at least {figure} of memory, and there are ")


@pytest.mark.parametrize(
    "flags",
    [
        (),
        ("+experiment=cifar10_flexnet7",),
        ("+experiment=speechcommands_raw_flextcn6",),
        ("conv.horizon=1000001", "conv.type=CKConv", "dataset=sMNIST"),
        ("net.type=OriginalResnet18", "net.no_hidden=65536"),
    ],
)
def test_ordinary_networks_pass(flags):
    check(*flags)


def test_the_least_that_a_kernel_takes():
    cfg = compose(["conv.horizon=11", "conv.type=CKConv", "kernel.no_hidden=8"])
    assert kernel_bytes(cfg, describe(cfg)) == 4 * 8 * 11 * 11


def test_a_failed_allocation_is_one_sentence_with_its_size():
    for make in (lambda: torch.empty(10**13), lambda: np.empty(10**13)):
        with pytest.raises((RuntimeError, MemoryError)) as error:
            make()
        assert sentence(error.value).startswith("a tensor of ")
    assert sentence(RuntimeError("a fault")) is None


def test_sizes():
    assert [bytes_text(n) for n in (0, 999, 2.13e12)] == ["0 bytes", "999 bytes", "2.13 TB"]
    assert total_memory(CPU) > 2**28
