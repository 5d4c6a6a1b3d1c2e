"""The table and the picture of a comparison: what each generator gave on each target."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ckernel_fitting.comparison import CURVE_POINTS, Best, Comparison, names_of
from ckernel_fitting.plots import TARGET, show_image
from ckernel_fitting.targets import Target
from program.files import write, write_csv
from program.words.tables import markdown
from training.report.pictures import clean, picture

COLUMNS = ("target", "generator", "MSE", "PSNR, dB", "between samples", "between, at best")
COLUMNS += ("seconds", "parameters", "lr", "frequency ×")
COLORS = {
    "MLP": "#8c8c8c",
    "SIREN": "#1f6fb4",
    "nSIREN": "#6baed6",
    "Fourier": "#e08a1e",
    "Gabor": "#7b4fa3",
    "MAGNet": "#c8442f",
    "SRF": "#3c9d5d",
    "RandomFourier": "#b8860b",
}
OTHER = "#333333"  # any other generator
CURVES, PANEL, ROW = 3.4, 1.62, 2.3  # inches: width of the curves, of a fit, height of a target


def write_report(
    stem: Path, targets: Sequence[Target], best: Sequence[Best], comparison: Comparison
) -> str:
    """Write table and picture beside each other under the name `stem`; returns the table."""
    best = sorted(best, key=lambda entry: (entry.target, -entry.mean_sd("psnr")[0]))
    rows = [row_of(entry, targets[entry.target]) for entry in best]
    table = table_of(rows)
    write_csv(stem.with_suffix(".csv"), rows)
    write(stem.with_suffix(".md"), table)
    models, iterations = names_of(comparison.models), comparison.no_iterations
    size = CURVES + PANEL * (1 + len(models)), ROW * len(targets) + 0.5
    with picture(stem.with_suffix(".png"), *size) as figure:
        draw_comparison(figure, targets, best, models, iterations)
    return table


def row_of(entry: Best, target: Target) -> dict[str, object]:
    """A line of the table."""
    row: dict[str, object] = {
        "target": f"{target.name} {'x'.join(str(n) for n in target.values.shape[1:])}",
        "generator": entry.model,
        "parameters": entry.outcomes[0].parameters,
        "lr": entry.lr,
        "frequency_factor": entry.factor,
        "seeds": len(entry.outcomes),
    }
    for name in ("mse", "psnr", "psnr_between", "seconds"):
        row[name], row[f"{name}_sd"] = entry.mean_sd(name)
    row["best_between"] = entry.between
    return row


def table_of(rows: Sequence[dict]) -> str:
    """The table as Markdown, each target's best generator first."""
    body = [
        (
            row["target"],
            row["generator"],
            f"{row['mse']:.1e} ± {row['mse_sd']:.0e}",
            f"{row['psnr']:.1f} ± {row['psnr_sd']:.1f}",
            known(row["psnr_between"], f"{row['psnr_between']:.1f} ± {row['psnr_between_sd']:.1f}"),
            known(row["best_between"], f"{row['best_between']:.1f}"),
            f"{row['seconds']:.1f} ± {row['seconds_sd']:.1f}",
            f"{row['parameters']:,}",
            f"{row['lr']:g}",
            f"{row['frequency_factor']:g}",
        )
        for row in rows
    ]
    return markdown(COLUMNS, body, "---") + "\n"


def known(number: float, text: str) -> str:
    """The text for a number, nothing where there is no number."""
    return "" if math.isnan(number) else text


def draw_comparison(
    figure: Figure,
    targets: Sequence[Target],
    best: Sequence[Best],
    models: Sequence[str],
    iterations: int,
) -> None:
    """A row per target: convergence curves, the target, and the fit of each of `models`."""
    axes = figure.subplots(
        len(targets),
        2 + len(models),
        squeeze=False,
        width_ratios=[CURVES / PANEL] + [1] * (1 + len(models)),
    )
    for index, target in enumerate(targets):
        entries = {entry.model: entry for entry in best if entry.target == index}
        _draw_curves(axes[index, 0], entries, iterations, target)
        _draw_values(axes[index, 1], target.values.numpy(), target, TARGET, "target")
        for axis, model in zip(axes[index, 2:], models):
            entry = entries[model]
            quality = entry.mean_sd("psnr")[0]
            middle = sorted(entry.outcomes, key=lambda o: o.psnr)[len(entry.outcomes) // 2]
            name = f"{model}\n{quality:.1f} dB"
            _draw_values(axis, middle.values, target, COLORS.get(model, OTHER), name)
    lines = {line.get_label(): line for line in axes[0, 0].get_lines()}
    figure.legend(
        [lines[model] for model in models],
        models,
        loc="outside upper center",
        ncols=len(models),
    )


def _draw_curves(axis: Axes, entries: dict[str, Best], iterations: int, target: Target) -> None:
    """The lowest error so far, the geometric mean over the seeds."""
    steps = np.linspace(1, iterations, CURVE_POINTS)
    for model, entry in entries.items():
        curves = np.stack([outcome.curve for outcome in entry.outcomes])
        mean = np.exp(np.log(np.maximum(curves, 1e-30)).mean(0))
        axis.plot(steps, mean, color=COLORS.get(model, OTHER), linewidth=1.4, label=model)
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
