"""Predictions of many files, as rows of a table."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from ckconv.trained import Trained
from training.prediction.deployed import Deployed
from training.prediction.inputs import read
from training.prediction.pictures import Sample

Row = dict[str, Any]


def predictions(files: list[Path], trained: Trained, batch_size: int) -> Iterator[Row]:
    """A row for every sample: its name, its class and all classes' probabilities, or its numbers.

    Of a network with an output per step, a row for every step. Batches hold samples of one shape.
    """
    deployed = Deployed(trained)
    for batch in _batches(files, trained, batch_size):
        names, samples = zip(*batch)
        x = torch.from_numpy(np.stack(samples)).to(trained.mean.device)
        with torch.no_grad():
            output = deployed(x)
        if trained.task["loss"] == "cross_entropy":
            output = output.softmax(1)
        for name, values in zip(names, output.cpu()):
            yield from _rows(name, values, trained)


def _batches(files: list[Path], trained: Trained, batch_size: int) -> Iterator[list[Sample]]:
    waiting: list[Sample] = []
    for path in tqdm(files, "predicting", unit="file", disable=not sys.stderr.isatty()):
        for sample in read(path, trained):
            differs = waiting and sample[1].shape != waiting[0][1].shape
            if differs or len(waiting) == batch_size:
                yield waiting
                waiting = []
            waiting.append(sample)
    if waiting:
        yield waiting


def _rows(name: str, values: Tensor, trained: Trained) -> Iterator[Row]:
    steps = values.unbind(1) if values.ndim == 2 else [values]
    for step, outputs in enumerate(steps):
        row = {"input": name} | ({"step": step} if values.ndim == 2 else {})
        numbers = [round(number, 6) for number in outputs.tolist()]
        if trained.task["loss"] != "cross_entropy":
            yield row | {f"value_{i}": number for i, number in enumerate(numbers)}
            continue
        names = trained.class_names or tuple(map(str, range(len(numbers))))
        yield row | {"class": names[int(outputs.argmax())], **dict(zip(names, numbers))}
