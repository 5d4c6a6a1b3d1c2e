"""Pictures of kernels: sampled coarsely and finely, their spectra, their bounds, and Nyquist."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from ckconv.antialiasing.colours import BOUND, LINE, NYQUIST, SIGNED, STYLE
from ckconv.antialiasing.frequencies import bound, nyquist
from ckconv.antialiasing.loss import regularizer
from ckconv.config import ConvConfig, KernelConfig, MaskConfig, RegularizeConfig
from ckconv.errors import UsageError
from ckconv.nn.ck import GENERATORS
from ckconv.nn.conv import CKConv, FlexConv
from ckconv.spectra import measure, sampled

FLOOR_DB = -60.0
HEADROOM_DB = 24.0  # over the spectra, for words that no line crosses
GAUSS_STDDEVS = RegularizeConfig.gauss_stddevs


def draw(layers: Mapping[str, CKConv], path: Path, kernel_size: int, finer: int = 4) -> None:
    """Draw a row of three panels for the first kernel of each layer, on the CPU.

    The kernel with `kernel_size` samples on [-1, 1]; with `finer` times as many steps, in the same
    colours; the spectrum of the function behind it, with its analytic bound where it has one, and
    Nyquist's frequencies of both samplings. 1-D samples lie on the function. Needs matplotlib.
    """
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with rc_context(STYLE):
        figure = Figure(figsize=(8.8, 1.8 * len(layers) + 0.5), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.subplots(len(layers), 3, squeeze=False, width_ratios=(1, 1.22, 2.2))
        for index, (name, layer) in enumerate(layers.items()):
            row = axes[index]
            _draw_kernels(row[:2], layer, kernel_size, finer)
            row[0].set_ylabel(name, fontsize=9)
            _draw_spectrum(row[2], layer, kernel_size, finer)
            if index < len(layers) - 1:
                row[2].tick_params(labelbottom=False)
        axes[0, 0].set_title(f"{kernel_size} samples per axis")
        axes[0, 1].set_title(f"{(kernel_size - 1) * finer + 1} samples")
        axes[-1, 2].set_xlabel("cycles per unit")
        figure.savefig(path, dpi=110)


def _draw_kernels(panels: Sequence[Any], layer: CKConv, kernel_size: int, finer: int) -> None:
    """A kernel in both samplings: images in one scale, or points on the function behind them."""
    kernels = [sampled(layer, kernel_size, factor)[0].numpy() for factor in (1, finer)]
    limit = max(max(abs(kernel).max() for kernel in kernels), 1e-12)
    for panel, kernel in zip(panels, kernels):
        if layer.dim == 3:
            kernel = kernel[len(kernel) // 2]  # the slice in the middle
        if layer.dim > 1:
            shown = panel.imshow(kernel, cmap=SIGNED, vmin=-limit, vmax=limit)
        else:
            function = sampled(layer, kernel_size, 16 * finer)[0].numpy()
            panel.plot(torch.linspace(-1, 1, len(function)).numpy(), function, color=LINE, lw=0.8)
            positions = torch.linspace(-1, 1, len(kernel)).numpy()
            panel.plot(positions, kernel, color=LINE, ls="none", marker="o", ms=2)
            panel.set(xlim=(-1.03, 1.03), ylim=(-1.1 * limit, 1.1 * limit))
        panel.set(xticks=[], yticks=[])
    if layer.dim > 1:
        panels[1].figure.colorbar(shown, ax=panels[1], fraction=0.05, pad=0.03)


def _draw_spectrum(panel: Any, layer: CKConv, kernel_size: int, finer: int) -> None:
    fine_size = (kernel_size - 1) * finer + 1
    end = 1.25 * nyquist(fine_size)
    spectrum = measure(layer, kernel_size, oversample=4 * finer, kernels=1)
    edges, level = spectrum.levels(end)
    edges = torch.cat((edges, edges.new_tensor([end])))  # the last bin reaches the panel's end
    level = torch.cat((level, level[-1:])).clamp(min=FLOOR_DB)
    panel.fill_between(edges, level, FLOOR_DB, step="post", color=LINE, alpha=0.25, linewidth=0)
    panel.step(edges, level, where="post", color=LINE, linewidth=0.9)
    for samples, style in ((kernel_size, "-"), (fine_size, ":")):
        _mark(panel, nyquist(samples), end, f"Nyquist of {samples}", NYQUIST, style, 18.0)
    share = spectrum.above(nyquist(kernel_size))
    text = f"{100 * share:.2g} % of the energy aliases"
    try:
        highest = bound(layer, GAUSS_STDDEVS).item()
        _mark(panel, highest, end, f"bound {highest:.1f}", BOUND, "--", 8.0)
    except UsageError:
        text += "; no analytic bound"
    panel.set_title(text, loc="right", fontsize=7)
    ticks = [0, -20, -40, FLOOR_DB]
    panel.set(xlim=(0, end), ylim=(FLOOR_DB, HEADROOM_DB), yticks=ticks, ylabel="dB")
    panel.tick_params(width=0.5, length=2)
    panel.spines[["top", "right"]].set_visible(False)


def _mark(
    panel: Any, x: float, end: float, text: str, color: str, style: str, height: float
) -> None:
    """A vertical line with its name over it; past the end of the axis, the name with an arrow."""
    beyond = x > end
    if not beyond:
        panel.plot([x, x], [FLOOR_DB, 2.0], color=color, linewidth=1.1, linestyle=style)
    side = "right" if x > 0.9 * end else "left" if x < 0.1 * end else "center"
    text = f"{text} \u2192" if beyond else text
    panel.text(min(x, end), height, text, color=color, fontsize=7, ha=side, va="center")


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
