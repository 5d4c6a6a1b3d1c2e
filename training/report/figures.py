"""Pictures of what a network has learned: kernels and masks, layer by layer."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from ckconv.antialiasing.colours import PALE, POSITIVE, SERIES, SIGNED
from ckconv.spectra import evaluate
from training.report.layers import Layer, generated_layers, size_text
from training.report.pictures import clean, picture

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

KERNELS_PER_LAYER = 7
FEW = 80  # samples of a 1-D kernel that are shown as points
FINE = 600  # positions at which the function behind them is drawn


def save_kernels(model: nn.Module, path: Path, title: str) -> None:
    """Draw every generated layer's mask and some of its kernels into a PNG, a PDF or an SVG.

    2-D kernels are images of what is left after cropping, beside the mask on the whole kernel
    with a frame around what is left; of 3-D ones the slice in the middle. 1-D kernels are the
    function behind them with the samples on it. Nothing is written for a network without such
    layers.
    """
    layers = generated_layers(model)
    if not layers:
        return
    is_image = len(layers[0].size) > 1
    width = 1.15 * (1 + KERNELS_PER_LAYER) + 1.2 if is_image else 8
    height = (1.2 if is_image else 1.5) * len(layers) + 0.8
    with picture(path, width, height) as figure:
        (_draw_images if is_image else _draw_lines)(figure, layers)
        figure.suptitle(title, fontsize=11)


def _draw_images(figure: Figure, layers: list[Layer]) -> None:
    axes = figure.subplots(len(layers), 1 + KERNELS_PER_LAYER, squeeze=False)
    for layer, row in zip(layers, axes):
        for axis in row:
            axis.set(xticks=[], yticks=[])
            axis.spines[:].set_visible(False)
        row[0].set_ylabel(f"{layer.name}\n{size_text(layer.size)}")
        _draw_mask(row[0], layer)
        kernels = [_middle(kernel) for kernel in _some_kernels(layer)]
        limit = max(max(np.abs(kernel).max() for kernel in kernels), 1e-12)
        for axis, kernel in zip(row[1:], kernels):
            shown = axis.imshow(kernel, cmap=SIGNED, vmin=-limit, vmax=limit)
        figure.colorbar(shown, ax=row[1:], fraction=0.02, pad=0.01)
    middle = ", the slice in the middle" if len(layers[0].size) == 3 else ""
    axes[0, 0].set_title("mask, 0 to 1", fontsize=8)
    title, first = f"kernels, cropped{middle}; a scale per layer", axes[0, 1]
    place = {"transform": first.transAxes, "in_layout": False}  # it may be wider than a column
    first.text(0, 1.05, title, **place)


def _draw_mask(axis: Axes, layer: Layer) -> None:
    from matplotlib.patches import Rectangle

    if layer.mask is None:
        axis.text(0.5, 0.5, "no mask", ha="center", va="center", transform=axis.transAxes)
        return
    axis.imshow(_middle(_mask_values(layer)), cmap=POSITIVE, vmin=0, vmax=1)
    sizes = zip(layer.full_size[-2:], layer.size[-2:])
    (top, height), (left, width) = (((full - used) / 2, used) for full, used in sizes)
    frame = {"fill": False, "edgecolor": "white", "lw": 0.8}
    axis.add_patch(Rectangle((left - 0.5, top - 0.5), width, height, **frame))


def _middle(values: np.ndarray) -> np.ndarray:
    """An image as it is, of a volume the slice in the middle of its first axis."""
    return values[len(values) // 2] if values.ndim == 3 else values


def _draw_lines(figure: Figure, layers: list[Layer]) -> None:
    axes = figure.subplots(len(layers), 1, squeeze=False, sharex=True)[:, 0]
    is_causal = getattr(layers[0].module, "causal_axis", None) is not None
    for layer, axis in zip(layers, axes):
        _draw_line(axis, layer, is_causal)
    if is_causal:
        axes[-1].invert_xaxis()
    where = "steps back in time" if is_causal else "steps from the middle"
    told = [where]
    if any(layer.mask is not None for layer in layers):
        told.append("grey: the mask")
    if any(layer.size[0] <= FEW for layer in layers):
        told.append("points: samples of the functions they lie on")
    axes[-1].set_xlabel("; ".join(told))


def _draw_line(axis: Axes, layer: Layer, is_causal: bool) -> None:
    """A layer's 1-D kernels, short ones as points on the functions behind them."""
    (full,), (used,) = layer.full_size, layer.size
    first = full - used if is_causal else (full - used) // 2
    kernels = _some_kernels(layer)
    limit = max(np.abs(kernels).max(), 1e-12)
    if layer.mask is not None:
        mask, places = limit * _mask_values(layer), _steps(np.arange(full), full, is_causal)
        axis.fill_between(places, -mask, mask, color=PALE, lw=0, zorder=0)
    axis.axhline(0, color=PALE, lw=0.6, zorder=0)
    steps = _steps(np.arange(first, first + used), full, is_causal)
    points = {"ls": "none", "marker": "o", "ms": 2} if used <= FEW else {"lw": 0.9}
    for kernel, colour in zip(kernels, SERIES):
        axis.plot(steps, kernel, color=colour, **points)
    if used <= FEW and (function := _function(layer, first, used)) is not None:
        between = _steps(np.linspace(first, first + used - 1, FINE), full, is_causal)
        for values, colour in zip(function, SERIES):
            axis.plot(between, values, color=colour, lw=0.8, zorder=1)
    axis.set_ylabel(f"{layer.name}\n{used} of {full}")
    clean(axis, grid=False)
    axis.margins(x=0.01)


def _steps(indices: np.ndarray, full: int, is_causal: bool) -> np.ndarray:
    """Where samples of a kernel of `full` lie: back in time, or from its middle."""
    return full - 1 - indices if is_causal else indices - (full - 1) / 2


def _chosen(layer: Layer) -> torch.Tensor:
    """Which of a layer's kernels are shown: spread evenly over output and input channels."""
    all_of_them = layer.kernel.shape[0] * layer.kernel.shape[1]
    count = min(KERNELS_PER_LAYER, all_of_them)
    return torch.linspace(0, all_of_them - 1, count).long()


def _some_kernels(layer: Layer) -> np.ndarray:
    return layer.kernel.flatten(0, 1)[_chosen(layer)].numpy()  # (some, *size)


def _function(layer: Layer, first: int, used: int) -> np.ndarray | None:
    """The function behind these kernels, between the samples in use; None where none is known."""
    module, full = layer.module, layer.full_size[0]
    if module.grid is not None or full == 1:
        return None
    like = module.generator.output.bias
    ends = (-1 + 2 * index / (full - 1) for index in (first, first + used - 1))
    positions = torch.linspace(*ends, FINE, device=like.device, dtype=like.dtype)
    values = evaluate(module, [positions], _chosen(layer).tolist()) * module.sampling_rate_norm
    return values.float().cpu().numpy()


@torch.no_grad()
def _mask_values(layer: Layer) -> np.ndarray:
    """The mask on the whole kernel, (*full_size)."""
    device = layer.mask.sigma.device
    axes = [torch.linspace(-1.0, 1.0, n, device=device) for n in layer.full_size]
    return layer.mask(axes).float().cpu().numpy()
