"""The colours of every picture that is drawn here, so that one thing has one colour everywhere."""

from __future__ import annotations

INK, MUTED, PALE = "#222222", "#777777", "#e4e4e4"  # words; axes and ticks; grids and masks
LINE, NYQUIST, BOUND = "#2a5d8f", "#c0392b", "#1e8449"  # a kernel, its limit, its analytic bound
SERIES = (LINE, "#d9822b", "#6c8f3c", "#8e5ea2", "#3fa7a3", "#c0392b", "#8c6d46")
SIGNED = "RdBu_r"  # of kernels, filters and errors: white is zero
POSITIVE = "magma"  # of masks, spectra and receptive fields: black is zero
ORDER = "viridis"  # of layers from the first to the last, and of epochs

STYLE = {  # for matplotlib.rc_context
    "font.size": 8,
    "axes.titlesize": 9,
    "axes.labelsize": 8,
    "axes.edgecolor": MUTED,
    "axes.linewidth": 0.6,
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7,
    "legend.frameon": False,
    "grid.color": PALE,
    "grid.linewidth": 0.6,
    "svg.fonttype": "none",
    "pdf.fonttype": 42,
}
