"""What the real-world time series share: dropping samples, normalisation, and the split."""

from __future__ import annotations

from cfg.schema import DatasetParams

import torch
from torch import Tensor

from datasets.base import Split, Splits, every_nth, sampled_length
from datasets.batches.transforms import ObservationMask, Pipeline
from datasets.split import three_way
from datasets.task import Normalisation

DROP_SEED = 56789
CHUNK = 256  # samples at a time in passes over large arrays
EPSILON = 1e-5  # added to standard deviations


def series_splits(
    params: DatasetParams,
    series: Tensor,
    targets: Tensor,
    scale: float = 1.0,
    lengths: Tensor | None = None,
) -> Splits:
    """Splits of `series` (N, C, L), 70/15/15 and stratified, each time step normalised.

    With `dataset_params.drop_rate` steps are dropped first, become zero after normalisation, and
    a last channel says where a step was observed. `scale` multiplies the stored values.
    `lengths` (N,) are those of padded series.
    """
    observed = observed_steps(len(series), series.shape[-1], params.drop_rate)
    pipeline = Pipeline(*([ObservationMask()] if params.drop_rate else []))
    rates = (params.sr_train, params.sr_train, params.sr_test)
    splits = []
    for indices, n in zip(three_way(targets.numpy()), rates):
        index = torch.from_numpy(indices)
        values = series[index].to(torch.float32).mul_(scale)  # (N, C, L)
        if observed is not None:
            values.masked_fill_(~observed[index][:, None], torch.nan)
        split = Split(values, targets[index], every_nth(pipeline, n))
        split.lengths = None if lengths is None else sampled_length(lengths[index], n)
        splits.append(split)
    mean, std = step_statistics(splits[0].inputs)
    std = std + EPSILON
    for split in splits:
        split.inputs.sub_(mean).div_(std)
    n = params.sr_train
    normalisation = Normalisation(mean[None, ::n], std[None, ::n], 1 / scale)  # (1, L) each
    return Splits(*splits, normalisation=normalisation if observed is None else None)


def observed_steps(samples: int, length: int, drop_rate: int) -> Tensor | None:
    """Which steps are kept, (samples, length) of bool; None for all.

    Of each sample `drop_rate` per cent of the steps are dropped, at random, the same in every run:
    those that the CKConv paper dropped, by one generator for the samples in the files' order.
    """
    if not drop_rate:
        return None
    generator = torch.Generator().manual_seed(DROP_SEED)
    dropped = int(length * drop_rate / 100)
    observed = torch.ones(samples, length, dtype=torch.bool)
    for row in observed:
        row[torch.randperm(length, generator=generator)[:dropped]] = False
    return observed


def step_statistics(series: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each time step of (N, C, L), over samples and channels.

    NaNs are left out. Accumulated in float64, some samples at a time.
    """
    count, total, squares = torch.zeros(3, series.shape[-1], dtype=torch.float64)  # (L,) each
    for chunk in series.split(CHUNK):
        chunk = chunk.double()
        count += (~chunk.isnan()).sum((0, 1))
        chunk = chunk.nan_to_num_(nan=0.0)
        total += chunk.sum((0, 1))
        squares += chunk.square_().sum((0, 1))
    mean = total / count.clamp(min=1)
    variance = (squares - count * mean.square()) / (count - 1).clamp(min=1)
    return mean.float(), variance.clamp(min=0).sqrt().float()
