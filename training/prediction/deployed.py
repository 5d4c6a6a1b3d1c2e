"""A trained network on samples as they are stored."""

from __future__ import annotations

from cfg.schema import Config

import os
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ckconv import trained as library
from ckconv.trained import Trained, from_plain
from datasets import Task, named
from datasets.base import every_nth
from datasets.batches.transforms import Pipeline
from datasets.images import PixelSequence
from models import build_model
from training.prediction.pictures import request_of


def load(path: str | os.PathLike[str], device: torch.device | str = "cpu") -> Trained:
    """`ckconv.load`, for the networks of this repository too."""
    return library.load(path, device, make_network)


def make_network(config: Mapping[str, Any], task: Mapping[str, Any]) -> nn.Module:
    """The network of a run, a baseline's too."""
    return build_model(from_plain(Config, config), from_plain(Task, task))


class Deployed(nn.Module):
    """A trained network behind all that its data set makes of stored samples (B, C, *size).

    They are resampled, normalised and unrolled as in training. Called with `lengths` (B,) too
    where it was trained on sequences of unequal length. Gives logits, or numbers.
    """

    def __init__(self, trained: Trained) -> None:
        super().__init__()
        self.trained = trained
        request, dataset = request_of(trained), named(trained.config["dataset"])
        self.normalises = isinstance(dataset, PixelSequence)
        self.stages = Pipeline()
        if self.normalises:
            images = dataset.images.pipeline(request)
            stages = dataset.stages(request.params, trained.data)
            self.stages = every_nth(images.then(*stages), request.params.sr_train)
        elif len(trained.task["size"]) == 2 and request.resampling:
            resampling = request.resampling
            before = resampling.before_augmentation()
            self.stages = Pipeline(*before, *resampling.after_augmentation())
        self.stages.to(trained.mean.device)

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        x = self.stages(x, None)
        if not self.normalises:
            return self.trained(x, lengths)
        return self.trained.network(x)
