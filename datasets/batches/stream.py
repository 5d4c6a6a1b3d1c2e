"""Batches of a data set that stays on disk, read ahead by other processes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from datasets.batches.loader import TensorLoader, as_target
from datasets.batches.transforms import Pipeline
from datasets.files.stored_images import ImageStore, read_batches

if TYPE_CHECKING:
    from datasets.base import Split


def loader_of(split: Split, workers: int, **settings: Any) -> TensorLoader:
    """Batches of a split: from memory, or read by `workers` where it stays on disk."""
    samples = split.inputs, split.targets, split.pipeline
    if split.store is None:
        return TensorLoader(*samples, lengths=split.lengths, **settings)
    return StreamLoader(split.store, *samples, workers=workers, **settings)


class StreamLoader(TensorLoader):
    """Batches of stored images; implements `datasets.task.Loader`.

    `indices` (N,) are those of the split's samples in `store`, in the order of `targets`. The
    order of samples, what the pipeline draws and how processes share the batches are those of
    `TensorLoader` on the same samples in memory. `workers` processes read ahead; with 0 the
    images are read when they are asked for.
    """

    def __init__(
        self,
        store: ImageStore,
        indices: Tensor,
        targets: Tensor,
        pipeline: Pipeline,
        *,
        workers: int,
        device: torch.device | str = "cpu",
        **settings: Any,
    ):
        super().__init__(indices, targets, pipeline, device="cpu", **settings)
        self.store, self.workers = store, workers
        self.device = torch.device(device)
        self.pipeline = pipeline.to(self.device)
        self._generator = torch.Generator(self.device)

    @torch.no_grad()
    def batches(self, epoch: int = 0, start: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield (inputs, targets) of one epoch, from batch `start` on."""
        plan = list(self._stored(epoch, start))
        reading = read_batches(self.store, [batch.inputs.tolist() for batch in plan], self.workers)
        for batch, pixels in zip(plan, reading):
            x = torch.from_numpy(pixels).to(self.device)  # (B, 3, H, W)
            target = as_target(batch.targets.to(self.device))
            yield self.pipeline(x, self._draw(batch)), target
