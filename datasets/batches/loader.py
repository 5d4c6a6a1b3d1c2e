"""Batches of a data set that fits in memory, made where the network runs."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from datasets.batches.transforms import Draw, Pipeline


def mixed_seed(*parts: object) -> int:
    """A seed for `torch.Generator` that differs wherever any of `parts` differs."""
    digest = hashlib.sha256("/".join(str(part) for part in parts).encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1


@dataclass
class StoredBatch:
    """A process's part of a batch, before the pipeline."""

    inputs: Tensor
    targets: Tensor
    seed: tuple[object, ...]  # what its random numbers depend on, beside the run's seed
    total: int  # samples of the batch over all processes
    own: slice  # which of them are here
    lengths: Tensor | None = None


class TensorLoader:
    """Batches of tensors that live on the device; implements `datasets.task.Loader`.

    `inputs` are (N, ...) of any type and become float32 (batch, channels, *size) in `pipeline`;
    `targets` are (N, ...), given out as int64 unless they are floating point. A shuffled order
    depends on the seed and the epoch, and what the pipeline draws on the seed, the epoch and the
    batch: the same on every device for the order, the same for every number of processes for both.

    `batch_size` is counted over all processes. A process takes every `world_size`-th sample of a
    training batch from its `rank` on; the last training batch is filled up from the epoch's first
    samples until all processes have equally many. In evaluation every sample comes exactly once.
    """

    def __init__(
        self,
        inputs: Tensor,
        targets: Tensor,
        pipeline: Pipeline,
        *,
        batch_size: int,
        train: bool,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
        device: torch.device | str = "cpu",
        lengths: Tensor | None = None,
    ):
        self.device = torch.device(device)
        self.train = train
        self.seed = seed
        self.rank, self.world_size = rank, world_size
        self.num_samples = len(targets)
        self.pipeline = pipeline.to(self.device)
        if not train:  # an evaluation's samples are shared out once, not batch by batch
            own = slice(rank, None, world_size)
            inputs, targets = inputs[own], targets[own]
            lengths = None if lengths is None else lengths[own]
            batch_size = math.ceil(batch_size / world_size)
        self.batch_size = batch_size
        self.inputs = inputs.to(self.device)
        self.targets = targets.to(self.device)
        self.lengths = None if lengths is None else lengths.to(self.device)
        self._generator = torch.Generator(self.device)

    def __len__(self) -> int:
        """Batches in an epoch."""
        return math.ceil(len(self.targets) / self.batch_size)

    @torch.no_grad()
    def batches(self, epoch: int = 0, start: int = 0) -> Iterator[tuple[Tensor, ...]]:
        """Yield (inputs, targets) of one epoch, or with their lengths, from batch `start` on."""
        for batch in self._stored(epoch, start):
            lengths = () if batch.lengths is None else (batch.lengths,)
            inputs = self.pipeline(batch.inputs, self._draw(batch))
            yield inputs, as_target(batch.targets), *lengths

    def _stored(self, epoch: int, start: int) -> Iterator[StoredBatch]:
        """The batches of an epoch as they are stored, from batch `start` on."""
        order = self._order(epoch).to(self.inputs.device) if self.train else None  # (N,)
        for number in range(start, len(self)):
            if self.train:
                yield self._train_batch(order, epoch, number)
            else:
                yield self._test_batch(number)

    def _order(self, epoch: int) -> Tensor:
        """The epoch's order of samples, drawn on the CPU so that it is the same on every device."""
        generator = torch.Generator().manual_seed(mixed_seed(self.seed, "order", epoch))
        return torch.randperm(self.num_samples, generator=generator)

    def _train_batch(self, order: Tensor, epoch: int, number: int) -> StoredBatch:
        indices = order[number * self.batch_size : (number + 1) * self.batch_size]
        if missing := -len(indices) % self.world_size:
            indices = torch.cat([indices, order.repeat(-(-missing // len(order)))[:missing]])
        total, own = len(indices), slice(self.rank, None, self.world_size)
        indices = indices[own]
        return StoredBatch(
            self.inputs.index_select(0, indices),
            self.targets.index_select(0, indices),
            ("batch", epoch, number),
            total,
            own,
            None if self.lengths is None else self.lengths.index_select(0, indices),
        )

    def _test_batch(self, number: int) -> StoredBatch:
        part = slice(number * self.batch_size, (number + 1) * self.batch_size)
        inputs = self.inputs[part]
        seed = ("evaluation", number)
        lengths = None if self.lengths is None else self.lengths[part]
        return StoredBatch(inputs, self.targets[part], seed, len(inputs), slice(None), lengths)

    def _draw(self, batch: StoredBatch) -> Draw:
        """The batch's random numbers; those of an earlier batch must have been used by now."""
        self._generator.manual_seed(mixed_seed(self.seed, *batch.seed))
        return Draw(self._generator, batch.total, batch.own)


def as_target(targets: Tensor) -> Tensor:
    """Cross-entropy wants int64; small integer types are for storage alone."""
    return targets if targets.is_floating_point() else targets.long()
