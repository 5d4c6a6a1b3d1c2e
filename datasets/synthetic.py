"""Problems of long memory that are generated: AddProblem and CopyMemory."""

from __future__ import annotations

from cfg.schema import DatasetParams

import numpy as np
import torch
from torch import Tensor

from ckconv.errors import UsageError
from datasets.base import Dataset, Request, Split, Splits
from datasets.batches.transforms import OneHot, Pipeline
from datasets.task import Task
from program.device import bytes_text, total_memory

SEEDS = {"train": 1, "validation": 2, "test": 3}


class Generated(Dataset):
    """Splits drawn from seeds of their own: the same samples in every run.

    `lengths` are the settings that decide how long a sequence is, `step_bytes` what one step of
    one sample takes while it is drawn.
    """

    counts: dict[str, int]
    lengths: tuple[str, ...]
    step_bytes: int

    def check(self, request: Request) -> None:
        super().check(request)
        given = {flag: getattr(request.params, flag) for flag in self.lengths}
        flag = max(given, key=given.get)
        needed = self.step_bytes * sum(self.counts.values()) * sum(given.values())
        available = total_memory(torch.device("cpu"))
        if needed > available:
            raise UsageError(
                f"dataset_params.{flag}={given[flag]}: the {sum(self.counts.values())} samples of "
                f"{self.name} would need {bytes_text(needed)} of memory, and there are "
                f"{bytes_text(available)}; give less"
            )

    def splits(self, request: Request, state: dict[str, Tensor] | None) -> Splits:
        splits = {
            name: self.generate(request.params, count, np.random.RandomState(SEEDS[name]))
            for name, count in self.counts.items()
        }
        return Splits(**splits)

    def generate(self, params: DatasetParams, count: int, random: np.random.RandomState) -> Split:
        """Draw `count` samples."""
        raise NotImplementedError


class AddProblem(Generated):
    """Add up the two marked values of a sequence (Hochreiter and Schmidhuber, 1997).

    Channel 0 holds `seq_length` values uniform in [0, 1), channel 1 is 1 at two different steps
    and 0 elsewhere. The target (1,) is the sum of the values there. Always answering 1 gives an
    MSE of 1/6. As in Bai et al. (2018) the marks may stand anywhere.
    """

    name = "AddProblem"
    counts = {"train": 50_000, "validation": 1_000, "test": 1_000}
    lengths, step_bytes = ("seq_length",), 16  # values and marks of four bytes, then side by side

    def describe(self, request: Request) -> Task:
        length = request.params.seq_length
        if length < 2:
            raise UsageError(f"dataset_params.seq_length={length}: give a length of at least 2")
        return Task(self.name, 2, 1, (length,), self.counts["train"], loss="mse", metric="mse")

    def generate(self, params: DatasetParams, count: int, random: np.random.RandomState) -> Split:
        length = params.seq_length
        values = random.random_sample((count, length)).astype(np.float32)
        first = random.randint(0, length, count)
        second = (first + random.randint(1, length, count)) % length  # never the first again
        samples = np.arange(count)
        marks = np.zeros_like(values)
        marks[samples, first] = marks[samples, second] = 1
        targets = values[samples, first] + values[samples, second]
        inputs = np.stack([values, marks], 1)  # (N, 2, L)
        return Split(torch.from_numpy(inputs), torch.from_numpy(targets[:, None]))


class CopyMemory(Generated):
    """Repeat the symbols of a sequence's beginning at its end (Arjovsky et al., 2016).

    `memory_size` symbols from 1 to 8, then blanks (0), a delimiter (9) that asks for the answer,
    and `memory_size` blanks: `seq_length + 2 * memory_size` steps, one channel per symbol. The
    target of a step is a blank everywhere but in the last `memory_size` steps: the symbols.
    """

    name = "CopyMemory"
    symbols = 10
    counts = {"train": 10_000, "validation": 1_000, "test": 1_000}
    lengths, step_bytes = ("memory_size", "seq_length"), 2  # input and target of a byte each

    def describe(self, request: Request) -> Task:
        params = request.params
        length = params.seq_length + 2 * params.memory_size
        return Task(
            self.name, self.symbols, self.symbols, (length,), self.counts["train"], per_step=True
        )

    def generate(self, params: DatasetParams, count: int, random: np.random.RandomState) -> Split:
        memory, wait = params.memory_size, params.seq_length
        symbols = random.randint(1, self.symbols - 1, (count, memory)).astype(np.uint8)
        inputs = np.zeros((count, wait + 2 * memory), np.uint8)
        inputs[:, :memory] = symbols
        inputs[:, -memory - 1] = self.symbols - 1
        targets = np.zeros_like(inputs)
        targets[:, -memory:] = symbols
        pipeline = Pipeline(OneHot(self.symbols))
        return Split(torch.from_numpy(inputs), torch.from_numpy(targets), pipeline)


DATASETS = (AddProblem(), CopyMemory())
