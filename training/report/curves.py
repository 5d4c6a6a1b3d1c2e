"""Pictures of a training, epoch by epoch: its curves, and how its kernels grow."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ckconv.antialiasing.colours import INK, MUTED, ORDER, SERIES
from ckconv.errors import UsageError
from training.report.layers import SIZE, size_text
from training.report.pictures import clean, picture

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Row = Mapping[str, float]
SPLITS = ("train", "validation", "test")
RESULTS = {"accuracy": "accuracy (%)", "auc": "area under the ROC curve", "mse": "squared error"}
NAMED = 12  # layers that are told apart by a legend; more by a scale
MOMENTS = 5  # epochs of which the sizes over the layers are shown
PALEST = 0.85  # of the colours of the order, whose end is hard to see on white
WIDE = 12  # largest over smallest size from which the axis is logarithmic


def read_history(path: Path) -> list[dict[str, float]]:
    """The rows of a `metrics.csv`; `UsageError` for another file."""
    try:
        with open(path, newline="") as file:
            rows = [{k: float(v) for k, v in row.items() if v} for row in csv.DictReader(file)]
        if any("epoch" not in row for row in rows):
            raise ValueError("it has no column epoch")
    except (ValueError, TypeError, AttributeError) as error:
        raise UsageError(f"{path}: is no table of epochs: {error}") from error
    return rows


# ----- losses, results and the learning rate --------------------------------------------------


def save_curves(history: Sequence[Row], path: Path, title: str = "") -> None:
    """Draw losses, results and the learning rate over the epochs; nothing without an epoch."""
    if not history:
        return
    metric = next((name for name in RESULTS if _columns(history, name)), None)
    with picture(path, 10 if metric else 7, 2.9) as figure:
        figure.suptitle(title, fontsize=10)
        axes = iter(figure.subplots(1, 3 if metric else 2))
        draw_results(next(axes), history, "loss", "loss")
        if metric:
            draw_results(next(axes), history, metric, RESULTS[metric])
        rate = next(axes)
        rate.plot(*series(history, "lr"), color=INK, lw=1.3, **_marks(history))
        rate.set(title="learning rate", xlabel="epoch", ylim=(0, None))
        for axis in figure.axes:
            _over_epochs(axis)


def draw_results(axis: Axes, history: Sequence[Row], name: str, text: str) -> None:
    """The lines of one result on the splits that have it, fractions in percent."""
    factor = 100 if name == "accuracy" else 1
    for split, colour in zip(SPLITS, SERIES):
        epochs, values = series(history, f"{split}_{name}")
        if len(epochs):
            axis.plot(epochs, factor * values, color=colour, lw=1.3, label=split, **_marks(history))
    axis.set(title=text, xlabel="epoch")
    axis.legend()


def draw_runs(figure: Figure, runs: Sequence[tuple[str, Sequence[Row]]]) -> None:
    """Loss and result of several runs, (name, rows) each: what is trained on in dashes."""
    every = [row for _, history in runs for row in history]
    metric = next((name for name in RESULTS if _columns(every, name)), None)
    names = ["loss", *([metric] if metric else [])]
    axes = figure.subplots(1, len(names), squeeze=False)[0]
    for axis, name in zip(axes, names):
        factor = 100 if name == "accuracy" else 1
        for index, (_, history) in enumerate(runs):
            colour, styles = SERIES[index % len(SERIES)], ("--", "-", "-")
            for split, style in zip(SPLITS, styles):
                epochs, values = series(history, f"{split}_{name}")
                lines = {"color": colour, "ls": style, "lw": 0.8 if style == "--" else 1.4}
                axis.plot(epochs, factor * values, **lines, **_marks(history))
        axis.set(title=f"{RESULTS.get(name, name)}; dashed: training", xlabel="epoch")
        _over_epochs(axis)
    handles = [axes[0].plot([], [], color=SERIES[i % len(SERIES)])[0] for i in range(len(runs))]
    place = {"loc": "outside lower center", "ncols": min(len(runs), 4)}
    figure.legend(handles, [label for label, _ in runs], **place)


def series(history: Sequence[Row], column: str) -> tuple[np.ndarray, np.ndarray]:
    """The epochs that have a column, and its values."""
    pairs = [(row["epoch"], row[column]) for row in history if column in row]
    epochs, values = np.array(pairs, dtype=float).reshape(-1, 2).T
    return epochs, values


def _columns(history: Sequence[Row], name: str) -> list[str]:
    return [f"{split}_{name}" for split in SPLITS if any(f"{split}_{name}" in r for r in history)]


def _marks(history: Sequence[Row]) -> dict[str, object]:
    """Points on the lines of short trainings, of which one epoch makes no line."""
    return {"marker": "o", "ms": 2.5} if len(history) <= 12 else {}


def _over_epochs(axis: Axes) -> None:
    from matplotlib.ticker import MaxNLocator

    axis.xaxis.set_major_locator(MaxNLocator(6, integer=True, min_n_ticks=1))
    clean(axis)


# ----- sizes ----------------------------------------------------------------------------------


def sizes_over_epochs(history: Sequence[Row]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """By layer the epochs of which its kernel's size is known, and the size per axis, (n, dim)."""
    axes: dict[str, list[str]] = {}
    for column in dict.fromkeys(key for row in history for key in row):
        if column.startswith(SIZE):
            layer, _, _ = column.removeprefix(SIZE).rpartition("/")
            axes.setdefault(layer, []).append(column)
    sizes = {}
    for layer, columns in axes.items():
        epochs = series(history, columns[0])[0]
        sizes[layer] = epochs, np.stack([series(history, one)[1] for one in columns], 1)
    return sizes


def save_sizes(history: Sequence[Row], path: Path, title: str = "") -> None:
    """Draw how the kernels grow: over the epochs, and from the first layer to the last.

    A kernel of several axes is drawn by their geometric mean, what a square one of as many samples
    had. Nothing is written where no layer has a generated kernel, or sizes were not recorded.
    """
    sizes = sizes_over_epochs(history)
    if not sizes:
        return
    dim = next(iter(sizes.values()))[1].shape[1]
    sides = {name: (e, values.prod(1) ** (1 / dim)) for name, (e, values) in sizes.items()}
    texts = {name: f"{name}: {size_text(v[-1].astype(int))}" for name, (_, v) in sizes.items()}
    with picture(path, 10, 3.4) as figure:
        figure.suptitle(title, fontsize=10)
        left, right = figure.subplots(1, 2, width_ratios=(1.25, 1))
        _draw_growth(figure, left, sides, texts)
        _draw_profiles(figure, right, sides)
        unit = "steps" if dim == 1 else "samples per axis, geometric mean"
        left.set(title="kernel sizes over the epochs", xlabel="epoch", ylabel=unit)
        right.set(title="kernel sizes from the first layer to the last", ylabel=unit)
        _over_epochs(left)
        for axis in (left, right):
            _scale(axis, [values for _, values in sides.values()])
            clean(axis)


def _draw_growth(figure: Figure, axis: Axes, sides: dict, texts: dict[str, str]) -> None:
    """A line per layer, its colour by its depth; `texts` name the layers."""
    from matplotlib import colormaps

    shades = colormaps[ORDER](np.linspace(0, PALEST, len(sides)))
    last = max(len(epochs) for epochs, _ in sides.values())
    marks = _marks([{}] * last)
    for shade, (name, (epochs, values)) in zip(shades, sides.items()):
        axis.plot(epochs, values, color=shade, lw=1.5, label=texts[name], **marks)
    if len(sides) <= NAMED:
        axis.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), reverse=True)
    else:
        names = list(sides)
        bar = _bar(figure, axis, 0, len(sides) - 1)
        bar.set_ticks([0, len(sides) - 1], labels=[names[0], names[-1]])


def _draw_profiles(figure: Figure, axis: Axes, sides: dict) -> None:
    """The sizes of all layers at a few moments, their colour by the epoch."""
    from matplotlib import colormaps

    epochs = next(iter(sides.values()))[0]
    chosen = np.unique(np.linspace(0, len(epochs) - 1, min(MOMENTS, len(epochs))).round())
    places = np.arange(len(sides))
    for share, index in zip(np.linspace(0, 0.85, len(chosen))[::-1], chosen.astype(int)):
        heights = [values[min(index, len(values) - 1)] for _, values in sides.values()]
        is_last = index == chosen[-1]
        axis.plot(
            places,
            heights,
            color=colormaps["Greys"](0.25 + 0.75 * (1 - share)),
            lw=2 if is_last else 1,
            marker="o",
            ms=4 if is_last else 2.5,
            label=f"epoch {epochs[index]:.0f}",
        )
    names = list(sides)
    step = math.ceil(len(names) / 16)
    axis.set_xticks(places[::step], names[::step], rotation=45, ha="right", rotation_mode="anchor")
    axis.margins(x=0.04)
    axis.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), reverse=True)


def _bar(figure: Figure, axis: Axes, low: float, high: float):
    from matplotlib import colormaps
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import ListedColormap, Normalize

    shades = ListedColormap(colormaps[ORDER](np.linspace(0, PALEST, 256)))
    return figure.colorbar(ScalarMappable(Normalize(low, high), shades), ax=axis, pad=0.02)


def _scale(axis: Axes, values: list[np.ndarray]) -> None:
    """From zero up; where sizes are far apart in powers."""
    from matplotlib.ticker import ScalarFormatter

    low, high = min(v.min() for v in values), max(v.max() for v in values)
    if high > WIDE * low:
        axis.set_yscale("log", base=2)
        axis.yaxis.set_major_formatter(ScalarFormatter())
    else:
        axis.set_ylim(0, 1.08 * high)
    axis.yaxis.label.set_color(MUTED)
