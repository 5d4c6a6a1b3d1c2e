"""Pictures of kernels: sampled coarsely and finely, their spectra, their bounds, and Nyquist."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from ckconv.antialiasing.frequencies import bound, nyquist
from ckconv.antialiasing.loss import regularizer
from ckconv.config import ConvConfig, KernelConfig, MaskConfig, RegularizeConfig
from ckconv.errors import UsageError
from ckconv.nn.ck import GENERATORS
from ckconv.nn.conv import CKConv, FlexConv
from ckconv.spectra import measure, sampled

INK, MUTED, LINE, NYQUIST, BOUND = "#222222", "#777777", "#2a5d8f", "#c0392b", "#1e8449"
FLOOR_DB = -60.0
GAUSS_STDDEVS = RegularizeConfig.gauss_stddevs
BEHIND_TEXT = {"boxstyle": "square,pad=0.1", "facecolor": "white", "alpha": 0.8, "linewidth": 0}


def draw(layers: Mapping[str, CKConv], path: Path, kernel_size: int, finer: int = 4) -> None:
    """Draw a row of three panels for the first kernel of each layer, on the CPU.

    The kernel with `kernel_size` samples on [-1, 1]; with `finer` times as many steps; the
    spectrum of the function behind it, with its analytic bound where it has one, and Nyquist's
    frequencies of both samplings. Needs matplotlib.
    """
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    style = {"font.size": 8, "axes.edgecolor": MUTED, "axes.linewidth": 0.6, "text.color": INK}
    with rc_context(style):
        figure = Figure(figsize=(8.4, 1.65 * len(layers) + 0.5), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.subplots(len(layers), 3, squeeze=False, width_ratios=(1, 1, 2.2))
        for index, (name, layer) in enumerate(layers.items()):
            row = axes[index]
            for panel, factor in zip(row, (1, finer)):
                _draw_kernel(panel, layer, kernel_size, factor)
            row[0].set_ylabel(name, fontsize=9, color=INK)
            _draw_spectrum(row[2], layer, kernel_size, finer)
            if index < len(layers) - 1:
                row[2].tick_params(labelbottom=False)
        axes[0, 0].set_title(f"{kernel_size} samples per axis", fontsize=9)
        axes[0, 1].set_title(f"{(kernel_size - 1) * finer + 1} samples", fontsize=9)
        axes[0, 2].set_title("spectrum (dB) over cycles per unit", fontsize=9)
        figure.savefig(path, dpi=110)


def _draw_kernel(panel: Any, layer: CKConv, kernel_size: int, finer: int) -> None:
    kernel = sampled(layer, kernel_size, finer)[0].numpy()
    limit = abs(kernel).max()
    if layer.dim == 3:
        kernel = kernel[len(kernel) // 2]  # the slice in the middle
    if layer.dim > 1:
        panel.imshow(kernel, cmap="RdBu_r", vmin=-limit, vmax=limit, interpolation="nearest")
    else:
        positions = torch.linspace(-1, 1, len(kernel)).numpy()
        marker = {"marker": ".", "markersize": 3} if finer == 1 else {}
        panel.plot(positions, kernel, color=LINE, linewidth=0.8, **marker)
        panel.set_xlim(-1, 1)
    panel.set(xticks=[], yticks=[])


def _draw_spectrum(panel: Any, layer: CKConv, kernel_size: int, finer: int) -> None:
    fine_size = (kernel_size - 1) * finer + 1
    end = 1.25 * nyquist(fine_size)
    spectrum = measure(layer, kernel_size, oversample=4 * finer, kernels=1)
    edges, level = spectrum.levels(end)
    level = level.clamp(min=FLOOR_DB)
    panel.fill_between(edges, level, FLOOR_DB, step="post", color=LINE, alpha=0.25, linewidth=0)
    panel.step(edges, level, where="post", color=LINE, linewidth=0.9)
    for samples, style in ((kernel_size, "-"), (fine_size, ":")):
        _mark(panel, nyquist(samples), end, f"Nyquist of {samples}", NYQUIST, style, 0.93)
    share = spectrum.above(nyquist(kernel_size))
    text = f"{100 * share:.2g} % of the energy aliases"
    try:
        highest = bound(layer, GAUSS_STDDEVS).item()
        _mark(panel, highest, end, f"bound, {highest:.1f}", BOUND, "--", 0.78)
    except UsageError:
        text += "; no analytic bound"
    place = {"ha": "right", "transform": panel.transAxes, "bbox": BEHIND_TEXT}
    panel.text(0.99, 0.6, text, color=INK, fontsize=7, **place)
    panel.set(xlim=(0, end), ylim=(FLOOR_DB, 3), yticks=[0, -20, -40, FLOOR_DB])
    panel.tick_params(colors=MUTED, labelsize=7, width=0.5, length=2)
    panel.spines[["top", "right"]].set_visible(False)


def _mark(
    panel: Any, x: float, end: float, text: str, color: str, style: str, height: float
) -> None:
    """A vertical line with its name; past the end of the axis, the name with an arrow."""
    beyond = x > end
    if not beyond:
        panel.axvline(x, color=color, linewidth=1.1, linestyle=style)
    text = f"{text} \u2192" if beyond else f" {text}"
    right = beyond or x > 0.7 * end
    place = {"ha": "right" if right else "left", "va": "center", "bbox": BEHIND_TEXT}
    where = panel.get_xaxis_transform()
    panel.text(min(x, end), height, f"{text} ", color=color, fontsize=7, transform=where, **place)


def main(arguments: list[str] | None = None) -> None:
    """Draw a randomly initialised kernel of each generator; `python -m ckconv.antialiasing`."""
    parser = argparse.ArgumentParser(
        prog="python -m ckconv.antialiasing",
        description="Draw a kernel of each generator at 1x and 4x, its spectrum, its analytic "
        "bound and Nyquist.",
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("generators_aliasing.png"),
        help="the picture file (default: %(default)s, in this folder)",
    )
    parser.add_argument("--dim", type=int, choices=(1, 2, 3), default=2)
    parser.add_argument("--kernel-size", type=int, default=17, help="samples per axis")
    parser.add_argument("--finer", type=int, default=4, help="how many times as fine the other is")
    parser.add_argument("--sigma", type=float, default=0.25, help="of the mask")
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args(arguments)
    layers = {name: _kernel(name, chosen) for name in GENERATORS}
    layers["MAGNet\nregularized"] = _regularized(_kernel("MAGNet", chosen))
    draw(layers, chosen.out, chosen.kernel_size, chosen.finer)
    print(f"drew a kernel of {', '.join(GENERATORS)} to {chosen.out.resolve()}")


def _kernel(name: str, chosen: argparse.Namespace) -> FlexConv:
    torch.manual_seed(chosen.seed)
    conv, mask = ConvConfig(horizon=str(chosen.kernel_size)), MaskConfig(init_value=chosen.sigma)
    layer = FlexConv(1, 1, chosen.dim, KernelConfig(type=name), conv, mask)
    torch.nn.init.zeros_(layer.mask.mean)  # centred also in 1-D, to show all of it
    return layer


def _regularized(layer: FlexConv) -> FlexConv:
    """The layer after descending the anti-aliasing loss alone, with the mask's sigma fixed."""
    optimizer = torch.optim.SGD(layer.generator.parameters(), lr=25.0)
    for _ in range(2000):
        optimizer.zero_grad()
        regularizer(layer, 0, 0.1, gauss_stddevs=GAUSS_STDDEVS).backward()
        optimizer.step()
    return layer
