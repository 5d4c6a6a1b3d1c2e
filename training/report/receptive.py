"""The effective receptive fields of a network's layers: a table and a picture."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from ckconv.antialiasing.colours import LINE, POSITIVE, SERIES
from ckconv.explore import ReceptiveField, receptive_fields
from datasets.task import Task
from program.words.tables import padded
from training.report.pictures import clean, picture

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INPUTS = 8  # of random numbers, as normalised samples are
ACROSS = 5  # panels in a row


def fields_of(model: nn.Module, task: Task) -> list[ReceptiveField]:
    """The receptive fields of a network's layers, measured on inputs of random numbers."""
    like = next(model.parameters())
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(INPUTS, task.in_channels, *task.size, generator=generator)
    return receptive_fields(model, inputs.to(like))


def fields_table(fields: list[ReceptiveField]) -> str:
    """A line per layer: its own kernel, what it can see at most, and what it does."""
    head = ("layer", "own kernel", "at most", "analytic", "by gradients")
    rows = [
        (one.name, *map(_text, (one.kernel, one.largest, one.analytic, one.measured)))
        for one in fields
    ]
    return f"effective receptive fields, in samples of the input\n{padded(head, rows)}"


def _text(sizes: tuple[float, ...] | None) -> str:
    """Sizes as `7.5×6.1`."""
    numbers = () if sizes is None else sizes
    return "×".join(f"{n:.0f}" if n == int(n) else f"{n:.1f}" for n in numbers) or "none"


KEY = "number: the measured size; dashed: the analytic one"  # under the picture


def save_fields(fields: list[ReceptiveField], path: Path, title: str) -> None:
    """Draw what every layer sees of the input, and a frame as large as the analytic field."""
    across = min(ACROSS, len(fields))
    down = math.ceil(len(fields) / across)
    is_image = fields[0].energy.ndim > 1
    size = (2.1 * across + 0.8, 2.3 * down + 0.5) if is_image else (8, 0.9 * len(fields) + 0.9)
    with picture(path, *size) as figure:
        figure.suptitle(title, fontsize=10)
        if not is_image:
            axes = figure.subplots(len(fields), 1, squeeze=False, sharex=True)[:, 0]
            for axis, field in zip(axes, fields):
                _draw_line(axis, field)
            axes[-1].set_xlabel(f"steps back in time; {KEY}")
            axes[-1].invert_xaxis()
            return
        axes = figure.subplots(down, across, squeeze=False)
        for axis in axes.flat:
            axis.set_axis_off()
        for axis, field in zip(axes.flat, fields):
            shown = _draw_image(axis, field)
        bar = figure.colorbar(shown, ax=axes, fraction=0.03, pad=0.01)
        bar.set_label("size of the gradient, over its largest")
        figure.supxlabel(KEY, fontsize=8)


def _draw_image(axis: Axes, field: ReceptiveField):
    from matplotlib.patches import Rectangle

    values = field.energy.sqrt()
    values = values.amax(0) if values.ndim == 3 else values
    height, width = (min(n, own) for n, own in zip(field.analytic[-2:], values.shape))
    middle = [n // 2 for n in values.shape]
    shown = axis.imshow(values.numpy(), cmap=POSITIVE, vmin=0, vmax=1)
    corner = (middle[1] - width / 2, middle[0] - height / 2)
    frame = {"fill": False, "edgecolor": "white", "lw": 0.9, "ls": "--"}
    axis.add_patch(Rectangle(corner, width, height, **frame))
    axis.set_title(f"{field.name}\n{_text(field.measured)}", fontsize=8)
    return shown


def _draw_line(axis: Axes, field: ReceptiveField) -> None:
    values = field.energy.sqrt().numpy()
    steps = np.arange(len(values))[::-1]
    axis.fill_between(steps, values, color=LINE, alpha=0.25, lw=0)
    axis.plot(steps, values, color=LINE, lw=0.9)
    if field.analytic[0] < len(values):
        axis.axvline(field.analytic[0], color=SERIES[1], ls="--", lw=1)
    axis.set_ylabel(f"{field.name}\n{_text(field.measured)}", fontsize=7)
    axis.set(ylim=(0, 1.05), yticks=[])
    axis.margins(x=0.01)
    clean(axis, grid=False)
