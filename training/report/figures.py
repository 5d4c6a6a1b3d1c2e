"""Pictures of what a network has learned: kernels and masks, layer by layer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import nn

from program.files import write_figure
from training.report.layers import Layer, generated_layers, size_text

KERNELS_PER_LAYER = 7
KERNEL_COLOURS, MASK_COLOURS = "RdBu_r", "magma"


def save_kernels(model: nn.Module, path: Path, title: str) -> None:
    """Draw every generated layer's mask and some of its kernels into a PNG, a PDF or an SVG.

    2-D kernels are images of what is left after cropping, beside the mask on the whole kernel
    with a frame around what is left; 1-D ones are lines over the steps back in time. Nothing is
    written for a network without such layers.
    """
    layers = generated_layers(model)
    if not layers:
        return
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    draw = _draw_images if len(layers[0].size) == 2 else _draw_lines
    figure = draw(plt, layers)
    figure.suptitle(title, fontsize=11)
    write_figure(path, figure, dpi=130)
    plt.close(figure)


def _draw_images(plt, layers: list[Layer]):
    columns = 1 + KERNELS_PER_LAYER
    figure, axes = plt.subplots(
        len(layers),
        columns,
        figsize=(1.15 * columns + 1.2, 1.2 * len(layers) + 0.7),
        squeeze=False,
        layout="constrained",
    )
    for layer, row in zip(layers, axes):
        for axis in row:
            axis.set_xticks([])
            axis.set_yticks([])
            axis.spines[:].set_visible(False)
        row[0].set_ylabel(f"{layer.name}\n{size_text(layer.size)}", fontsize=8)
        _draw_mask(plt, row[0], layer)
        kernels = _some_kernels(layer)
        limit = max(np.abs(kernels).max(), 1e-12)
        for axis, kernel in zip(row[1:], kernels):
            shown = axis.imshow(kernel, cmap=KERNEL_COLOURS, vmin=-limit, vmax=limit)
        bar = figure.colorbar(shown, ax=row[1:], fraction=0.02, pad=0.01)
        bar.ax.tick_params(labelsize=6)
    axes[0, 0].set_title("mask, 0 to 1", fontsize=8)
    axes[0, 1].set_title("kernels, cropped; a scale per layer", fontsize=8, loc="left")
    return figure


def _draw_mask(plt, axis, layer: Layer) -> None:
    axis.imshow(_mask_values(layer), cmap=MASK_COLOURS, vmin=0, vmax=1)
    height, width = layer.size
    top, left = ((full - used) / 2 for full, used in zip(layer.full_size, layer.size))
    axis.add_patch(
        plt.Rectangle((left - 0.5, top - 0.5), width, height, fill=False, color="white", lw=0.8)
    )


def _draw_lines(plt, layers: list[Layer]):
    figure, axes = plt.subplots(
        len(layers),
        1,
        figsize=(8, 1.5 * len(layers) + 0.9),
        squeeze=False,
        sharex=True,
        layout="constrained",
    )
    for layer, axis in zip(layers, axes[:, 0]):
        full, used = layer.full_size[0], layer.size[0]
        kernels = _some_kernels(layer)
        limit = max(np.abs(kernels).max(), 1e-12)
        mask = _mask_values(layer)
        lags = np.arange(full - 1, -1, -1)  # the last tap meets the most recent sample
        axis.fill_between(lags, -limit * mask, limit * mask, color="0.9", lw=0)
        for kernel in kernels:
            axis.plot(lags[full - used :], kernel, lw=0.9)
        axis.set_ylabel(f"{layer.name}\n{used} of {full}", fontsize=8)
        axis.tick_params(labelsize=7)
        axis.margins(x=0)
    axes[-1, 0].invert_xaxis()
    axes[-1, 0].set_xlabel("steps back in time; grey: the mask", fontsize=8)
    return figure


def _some_kernels(layer: Layer) -> np.ndarray:
    """Kernels spread evenly over a layer's output and input channels: (some, *size)."""
    kernels = layer.kernel.flatten(0, 1)  # (out * in, *size)
    count = min(KERNELS_PER_LAYER, len(kernels))
    return kernels[torch.linspace(0, len(kernels) - 1, count).long()].numpy()


@torch.no_grad()
def _mask_values(layer: Layer) -> np.ndarray:
    """The mask on the whole kernel, (*full_size); ones where there is none."""
    if layer.mask is None:
        return np.ones(layer.full_size)
    device = layer.mask.sigma.device
    axes = [torch.linspace(-1.0, 1.0, n, device=device) for n in layer.full_size]
    return layer.mask(axes).float().cpu().numpy()
