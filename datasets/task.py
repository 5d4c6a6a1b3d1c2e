"""What a network and a training loop need to know of a data set, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

from torch import Tensor


@dataclass(frozen=True)
class Task:
    """A learning task.

    `size` is (length,) for sequences and (height, width) for images. `loss` is `cross_entropy`,
    `mse`, or `binary`, the cross-entropy of one logit; `metric` is `accuracy`, `auc` (the area
    under the ROC curve) or `mse`. Targets are int64 (batch,) for `cross_entropy`, else float32
    (batch, out_channels), 0 or 1 for `binary`. With `per_step` a
    target is given for every time step: targets are (batch, length) and the network's output is
    (batch, out_channels, length). `train_samples` are the samples trained on, without those held
    out for validation. `class_names` are empty where there are none. With `timed` the last channel
    of a sequence, counted in `in_channels`, holds the times of its samples, in steps. With `padded`
    sequences have lengths of their own, which come with every batch.
    """

    name: str
    in_channels: int
    out_channels: int
    size: tuple[int, ...]
    train_samples: int
    loss: str = "cross_entropy"
    metric: str = "accuracy"
    per_step: bool = False
    class_names: tuple[str, ...] = ()
    timed: bool = False
    padded: bool = False

    @property
    def dim(self) -> int:
        """1 for sequences, 2 for images."""
        return len(self.size)

    @property
    def higher_is_better(self) -> bool:
        """Of two values of the metric."""
        return self.metric != "mse"


class Loader(Protocol):
    """Batches of one split, in an order that depends on nothing but the seed and the epoch.

    An interrupted epoch is continued by asking for the same epoch with `start` at the next batch.
    """

    num_samples: int

    def __len__(self) -> int:
        """Batches in an epoch."""

    def batches(self, epoch: int = 0, start: int = 0) -> Iterator[tuple[Tensor, ...]]:
        """Yield (inputs, targets), on the device that the loader was built for.

        Inputs are float32 (batch, channels, *size), already augmented and normalised. Of sequences
        that are padded to one length a third tensor (batch,) gives the lengths without padding,
        for the network to take after its inputs.
        """


@dataclass(frozen=True)
class Normalisation:
    """The network's inputs are (stored / scale - mean) / std.

    `mean` and `std` broadcast with a sample (channels, *size).
    """

    mean: Tensor
    std: Tensor
    scale: float = 1.0


@dataclass
class Loaders:
    """The splits of a data set. `validation` is None where no samples are held out.

    `state` holds the fixed random tensors that the inputs depend on (a permutation, noise): save
    it with the weights and give it back to `build_loaders`, and the network meets the same inputs.
    `normalisation` is what all inputs have passed, None where they are not normalised so.
    """

    train: Loader
    validation: Loader | None
    test: Loader
    state: dict[str, Tensor] = field(default_factory=dict)
    normalisation: Normalisation | None = None
