"""The picture of a fit: target, fit and error, and the spectrum of each."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from ckconv.antialiasing.colours import INK, LINE, NYQUIST, POSITIVE, SIGNED
from ckernel_fitting.fit import Fit
from ckernel_fitting.targets import Target
from training.report.pictures import clean, picture

TARGET, FIT, ERROR = INK, LINE, NYQUIST
LOWEST_DB = -100.0
STYLE = {"fontsize": 9}


def save_fit(path: Path, target: Target, fit: Fit, title: str, span: tuple[float, float]) -> None:
    """Draw target, fit and error in the upper row, their spectra in the lower one.

    `span`: the coordinates of the first and the last sample, for the axis of a 1-D function.
    """
    error = fit.values - target.values
    arrays = [values.numpy() for values in (target.values, fit.values, error)]
    names = ("target", f"fit: PSNR {fit.psnr:.1f} dB, MSE {fit.mse:.1e}", "error: fit - target")
    draw, height = (_draw_1d, 5.6) if target.dim == 1 else (_draw_2d, 7.4)
    with picture(path, 11, height) as figure:
        figure.suptitle(title, fontsize=11)
        draw(figure.subplots(2, 3), arrays, names, span)


def _draw_1d(axes: NDArray, arrays: list, names: tuple[str, ...], span: tuple[float, float]):
    x = np.linspace(*span, arrays[0].shape[1])
    decibels, frequencies = _spectra_1d(arrays)
    low, high = _limits(arrays[0])
    for column, color in enumerate((TARGET, FIT, ERROR)):
        above, below = axes[:, column]
        width = 0.8 if len(x) > 200 else 1.2
        above.plot(x, arrays[column][0], color=color, linewidth=width)
        above.set_title(names[column], **STYLE)
        above.set_xlabel("x", **STYLE)
        if column < 2:
            above.set_ylim(low, high)
        below.plot(frequencies, decibels[column], color=color, linewidth=0.8)
        if column:
            below.plot(frequencies, decibels[0], color=TARGET, linewidth=0.6, alpha=0.35, zorder=0)
        below.set_ylim(max(LOWEST_DB, min(d.min() for d in decibels)) - 5, 5)
        below.set_xlim(0, frequencies[-1])
        below.set_xlabel("cycles per unit of position, up to Nyquist", **STYLE)
    axes[1, 0].set_ylabel("spectrum, dB of the target's peak", **STYLE)
    for axis in axes.flat:
        clean(axis)


def _draw_2d(axes: NDArray, arrays: list, names: tuple[str, ...], span: tuple[float, float]):
    target, fitted, error = arrays
    largest = float(np.abs(error).max()) or 1.0
    show_image(axes[0, 0], target, target)
    show_image(axes[0, 1], fitted, target)
    shown = axes[0, 2].imshow(tile(error).mean(-1), cmap=SIGNED, vmin=-largest, vmax=largest)
    axes[0, 2].figure.colorbar(shown, ax=axes[0, 2], fraction=0.046, pad=0.03, format="%.0e")
    decibels, extent = _spectra_2d(arrays)
    for column, name in enumerate(names):
        axes[0, column].set_title(name, **STYLE)
        axes[0, column].set_axis_off()
        below = axes[1, column]
        shown = below.imshow(
            decibels[column], cmap=POSITIVE, vmin=LOWEST_DB, vmax=0, extent=extent, aspect="auto"
        )
        below.set_box_aspect(target.shape[1] / target.shape[2])
        below.set_xlabel("cycles per unit of position", **STYLE)
        below.tick_params(labelsize=8)
    axes[1, 0].set_ylabel("spectrum", **STYLE)
    bar = axes[1, 2].figure.colorbar(shown, ax=axes[1, 2], fraction=0.046, pad=0.03)
    bar.set_label("dB of the target's peak", **STYLE)


def _spectra_1d(arrays: list[NDArray]) -> tuple[list[NDArray], NDArray]:
    """Magnitudes in dB of the first array's largest, and their frequencies."""
    samples = arrays[0].shape[-1]
    magnitudes = [np.abs(np.fft.rfft(array)).mean(0) for array in arrays]
    return _decibels(magnitudes), np.fft.rfftfreq(samples, 2 / (samples - 1))


def _spectra_2d(arrays: list[NDArray]) -> tuple[list[NDArray], tuple[float, ...]]:
    """Magnitudes in dB, zero frequency in the middle, and the edges of their frequencies."""
    height, width = arrays[0].shape[1:]
    magnitudes = [np.fft.fftshift(np.abs(np.fft.fft2(array)).mean(0)) for array in arrays]
    x, y = (width - 1) / 4, (height - 1) / 4  # the Nyquist frequencies
    return _decibels(magnitudes), (-x, x, y, -y)


def _decibels(magnitudes: list[NDArray]) -> list[NDArray]:
    peak = magnitudes[0].max() or 1.0
    floor = 10 ** (LOWEST_DB / 20)
    return [20 * np.log10(np.maximum(m / peak, floor)) for m in magnitudes]


def show_image(axis: Axes, values: NDArray, like: NDArray) -> None:
    """Draw (C, H, W) in the colours and the range of `like`."""
    low, high = float(like.min()), float(like.max())
    image = tile(values)
    if image.shape[-1] == 1:
        if low < 0:  # a signed pattern: white is zero
            low, high, colors = -max(-low, high), max(-low, high), SIGNED
        else:
            low, high, colors = (low, high, "gray") if low < high else (0.0, max(1.0, high), "gray")
        axis.imshow(image[..., 0], cmap=colors, vmin=low, vmax=high)
    else:
        axis.imshow(np.clip((image - low) / ((high - low) or 1.0), 0, 1))


def tile(values: NDArray) -> NDArray:
    """Channels as one picture (H, W, 1 or 3): by threes as colours where they divide so, several
    pictures side by side in a square."""
    channels, height, width = values.shape
    depth = 3 if channels % 3 == 0 else 1
    pictures = values.reshape(-1, depth, height, width).transpose(0, 2, 3, 1)
    count = len(pictures)
    if count == 1:
        return pictures[0]
    across = math.ceil(math.sqrt(count))
    down = math.ceil(count / across)
    sheet = np.full((down * (height + 1) - 1, across * (width + 1) - 1, depth), values.max())
    for index, each in enumerate(pictures):
        top, left = (height + 1) * (index // across), (width + 1) * (index % across)
        sheet[top : top + height, left : left + width] = each
    return sheet


def _limits(values: NDArray) -> tuple[float, float]:
    low, high = float(values.min()), float(values.max())
    margin = 0.08 * ((high - low) or abs(high) or 1.0)
    return low - margin, high + margin
