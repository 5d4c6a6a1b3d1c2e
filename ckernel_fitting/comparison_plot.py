"""The picture of a comparison: per target, how each generator converged and what it gave."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ckernel_fitting.comparison import CURVE_POINTS, Best
from ckernel_fitting.plots import TARGET, clean, new_figure, show_image
from ckernel_fitting.settings import MODELS, Settings
from ckernel_fitting.targets import Target

COLORS = dict(
    zip(
        MODELS,
        ("#8c8c8c", "#1f6fb4", "#6baed6", "#e08a1e", "#7b4fa3", "#c8442f", "#3c9d5d", "#b8860b"),
    )
)
CURVES, PANEL, ROW = 3.4, 1.62, 2.3  # inches: width of the curves, of a fit, height of a target


def comparison_figure(
    targets: Sequence[Target], best: Sequence[Best], models: Sequence[str], settings: Settings
) -> Figure:
    """A row per target: convergence curves, the target, and the fit of each of `models`."""
    figure = new_figure(CURVES + PANEL * (1 + len(models)), ROW * len(targets) + 0.5)
    axes = figure.subplots(
        len(targets),
        2 + len(models),
        squeeze=False,
        width_ratios=[CURVES / PANEL] + [1] * (1 + len(models)),
    )
    for index, target in enumerate(targets):
        entries = {entry.model: entry for entry in best if entry.target == index}
        _draw_curves(axes[index, 0], entries, settings.no_iterations, target)
        _draw_values(axes[index, 1], target.values.numpy(), target, TARGET, "target")
        for axis, model in zip(axes[index, 2:], models):
            entry = entries[model]
            quality = entry.mean_sd("psnr")[0]
            middle = sorted(entry.outcomes, key=lambda o: o.psnr)[len(entry.outcomes) // 2]
            name = f"{model}\n{quality:.1f} dB"
            _draw_values(axis, middle.values, target, COLORS[model], name)
    lines = {line.get_label(): line for line in axes[0, 0].get_lines()}
    figure.legend(
        [lines[model] for model in models],
        models,
        loc="outside upper center",
        ncols=len(models),
        frameon=False,
    )
    return figure


def _draw_curves(axis: Axes, entries: dict[str, Best], iterations: int, target: Target) -> None:
    """The lowest error so far, the geometric mean over the seeds."""
    steps = np.linspace(1, iterations, CURVE_POINTS)
    for model, entry in entries.items():
        curves = np.stack([outcome.curve for outcome in entry.outcomes])
        mean = np.exp(np.log(np.maximum(curves, 1e-30)).mean(0))
        axis.plot(steps, mean, color=COLORS[model], linewidth=1.4, label=model)
    axis.set_yscale("log")
    size = " x ".join(str(n) for n in target.values.shape[1:])
    axis.set_title(f"{target.name}, {size}: MSE by iteration", fontsize=9)
    clean(axis)


def _draw_values(axis: Axes, values: np.ndarray, target: Target, color: str, name: str) -> None:
    axis.set_title(name, fontsize=9, color=color)
    axis.set_xticks([])
    axis.set_yticks([])
    if target.dim == 2:
        show_image(axis, values, target.values.numpy())
    else:
        axis.plot(target.values[0].numpy(), color="#bbbbbb", linewidth=0.8)
        axis.plot(values[0], color=color, linewidth=0.7)
        low, high = target.values.min().item(), target.values.max().item()
        margin = 0.12 * ((high - low) or 1.0)
        axis.set_ylim(low - margin, high + margin)
    axis.spines[:].set_visible(False)
