"""Batches of a data set that fits in memory, made where the network runs."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator

import torch
from torch import Tensor

from datasets.transforms import Draw, Pipeline


def mixed_seed(*parts: object) -> int:
    """A seed for `torch.Generator` that differs wherever any of `parts` differs."""
    digest = hashlib.sha256("/".join(str(part) for part in parts).encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1


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
    ):
        self.device = torch.device(device)
        self.train = train
        self.seed = seed
        self.rank, self.world_size = rank, world_size
        self.num_samples = len(targets)
        self.pipeline = pipeline.to(self.device)
        if not train:  # an evaluation's samples are shared out once, not batch by batch
            inputs, targets = inputs[rank::world_size], targets[rank::world_size]
            batch_size = math.ceil(batch_size / world_size)
        self.batch_size = batch_size
        self.inputs = inputs.to(self.device)
        self.targets = targets.to(self.device)
        self._generator = torch.Generator(self.device)

    def __len__(self) -> int:
        """Batches in an epoch."""
        return math.ceil(len(self.targets) / self.batch_size)

    @torch.no_grad()
    def batches(self, epoch: int = 0, start: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield (inputs, targets) of one epoch, from batch `start` on."""
        order = self._order(epoch).to(self.device) if self.train else None  # (N,)
        for batch in range(start, len(self)):
            yield self._train_batch(order, epoch, batch) if self.train else self._test_batch(batch)

    def _order(self, epoch: int) -> Tensor:
        """The epoch's order of samples, drawn on the CPU so that it is the same on every device."""
        generator = torch.Generator().manual_seed(mixed_seed(self.seed, "order", epoch))
        return torch.randperm(self.num_samples, generator=generator)

    def _train_batch(self, order: Tensor, epoch: int, batch: int) -> tuple[Tensor, Tensor]:
        indices = order[batch * self.batch_size : (batch + 1) * self.batch_size]
        if missing := -len(indices) % self.world_size:
            indices = torch.cat([indices, order.repeat(-(-missing // len(order)))[:missing]])
        own = slice(self.rank, None, self.world_size)
        self._generator.manual_seed(mixed_seed(self.seed, "batch", epoch, batch))
        draw = Draw(self._generator, len(indices), own)
        indices = indices[own]
        x = self.inputs.index_select(0, indices)
        return self.pipeline(x, draw), _as_target(self.targets.index_select(0, indices))

    def _test_batch(self, batch: int) -> tuple[Tensor, Tensor]:
        part = slice(batch * self.batch_size, (batch + 1) * self.batch_size)
        x = self.inputs[part]
        self._generator.manual_seed(mixed_seed(self.seed, "evaluation", batch))
        draw = Draw(self._generator, len(x), slice(None))
        return self.pipeline(x, draw), _as_target(self.targets[part])


def _as_target(targets: Tensor) -> Tensor:
    """Cross-entropy wants int64; small integer types are for storage alone."""
    return targets if targets.is_floating_point() else targets.long()
