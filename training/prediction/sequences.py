"""Arrays, tables and recordings for a trained network."""

from __future__ import annotations

from cfg.schema import Columns

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from ckconv.errors import UsageError
from ckconv.trained import Trained, from_plain
from datasets.files.tables import Case
from datasets.own.arrays import as_samples, own_lengths, read_arrays, sample_times
from datasets.own.time_series import is_even, read_cases, stacked, time_step
from datasets.own.times import with_times
from datasets.speech_commands import STEPS, mfcc, read_wav
from training.prediction.pictures import Sample, request_of


def arrays_of(path: Path, trained: Trained) -> Iterator[Sample]:
    """An .npz file: `x`, `lengths` where they are padded, `times` where the network wants them."""
    arrays = read_arrays(path)
    if "x" not in arrays:
        raise UsageError(f"{path}: holds {', '.join(arrays) or 'nothing'}, but no x")
    lengths = own_lengths(arrays, str(path))
    x = as_samples(arrays["x"], f"{path}, x", lengths)
    if trained.task["timed"]:
        if "times" not in arrays:
            raise UsageError(f"{path}: holds no times, which the network was trained with")
        x = with_times(x, sample_times(arrays["times"], x, f"{path}, times", lengths))
    for row, sample in enumerate(x):
        own = sample if lengths is None else sample[:, : lengths[row]]
        yield f"{path}[{row}]", _whole(own, trained)


def series_of(path: Path, trained: Trained) -> Iterator[Sample]:
    """A table or a `.ts` file: each of its series, with the columns that training had."""
    columns = from_plain(Columns, trained.config["dataset_params"]["columns"])
    for case in read_cases(path, columns, labelled=False):
        where = f"{path}, series {case.name}"
        yield f"{path}: {case.name}", _whole(_stored(case, trained, where), trained)


def _stored(case: Case, trained: Trained, where: str) -> NDArray:
    step = None
    if trained.task["timed"]:
        if case.times is None:
            raise UsageError(f"{where}: has no times, which the network was trained with")
        step = float(trained.std.flatten()[-1])
    elif case.times is not None and not is_even(case, time_step([case]) or 1.0):
        raise UsageError(
            f"{where}: its steps are not equally far apart, as those of the training series were"
        )
    return stacked([case], len(case), step)[0]


def _whole(sequence: NDArray, trained: Trained) -> NDArray:
    """A sequence (C, L) as long as the network needs it.

    It reads any length, unless it was trained on the padding of CharTrajectories: by the last step.
    """
    missing = trained.task["size"][-1] - sequence.shape[-1]
    by_step = trained.mean.ndim > 0 and trained.mean.shape[-1] > 1
    if sequence.ndim != 2 or missing <= 0 or not by_step or trained.padded:
        return sequence
    return np.pad(sequence, ((0, 0), (0, missing)), mode="edge")


def recording(path: Path, trained: Trained) -> Iterator[Sample]:
    """A recording of one second, cut or followed by silence: one sample."""
    if trained.config["dataset"] != "SpeechCommands":
        raise UsageError(
            f"{path}: is a recording; the network was trained on {trained.task['name']}"
        )
    clip = read_wav(path)[:STEPS]
    clip = torch.from_numpy(np.pad(clip, (0, STEPS - len(clip))))[None]  # (1, 16000)
    params = request_of(trained).params
    if params.mfcc:
        clip = mfcc(clip[None])[0]
    yield str(path), clip[:, :: params.sr_train].numpy()
