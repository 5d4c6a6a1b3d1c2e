"""What the benchmarks leave: JSON, a table in Markdown, a chart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.backends import BACKENDS
from program.files import write_figure
from program.words.tables import markdown

COLOURS = {
    "direct": "#999999",
    "last": "#555555",
    "fft": "#e69f00",
    "fft-conv": "#f0e442",
    "conv": "#56b4e9",
    "taps": "#88ccaa",
    "no-tiles": "#aa4499",
    "uncut": "#cc79a7",
    "whole": "#b39ddb",
    "spectral": "#009e73",
    "all-steps": "#d55e00",
    "ours": "#0072b2",
}
# Seconds of a training step of the published code (2021), on a two-core x86 machine.
PUBLISHED = {
    "flexnet7-32x32-sigma0.075": 0.475,
    "flexnet7-32x32-sigma0.25": 9.7,
    "flexnet7-32x32-sigma1.0": 40.2,
    "flextcn2-784-sigma0.075": 0.139,
    "flextcn2-784-sigma0.3": 0.213,
    "flextcn2-784-sigma1.0": 0.197,
    "flextcn2-1024-sigma0.075": 0.192,
    "flextcn2-1024-sigma0.3": 0.253,
    "flextcn2-1024-sigma1.0": 0.264,
    "flextcn2-16000-sigma0.075": 2.55,
    "flextcn2-16000-sigma0.3": 2.55,
    "flextcn2-16000-sigma1.0": 4.84,
}
TITLES = {
    "train": "Training step",
    "evaluate": "Evaluation, kernels kept",
    "uncached": "Evaluation, kernels sampled every time",
}


def duration(seconds: float) -> str:
    """Seconds as `1.23 s` or `4.56 ms`, in three digits."""
    return f"{seconds:.3g} s" if seconds >= 1 else f"{seconds * 1e3:.3g} ms"


def table(values: dict[str, Any]) -> str:
    """All results in Markdown, a table for each mode."""
    parts = []
    for mode, title in TITLES.items():
        rows = [row for row in values["results"] if row["mode"] == mode]
        if rows:
            parts += [f"## {title}", _times(rows), _memory(rows)]
    if values["epochs"]:
        parts += ["## An epoch of CIFAR-10, data and all", _epochs(values["epochs"])]
    return "\n\n".join(parts) + "\n"


def _times(rows: list[dict]) -> str:
    names = _names(rows)
    head = ["workload", "kernel", *(BACKENDS[n].label for n in names)]
    head += ["\u00d7 direct / FFT / nn.Conv", "\u00d7 3 taps", "\u00d7 published"]
    body = []
    for row in rows:
        ratios = row["times_ours"]
        cells = [_time(row["backends"].get(name)) for name in names]
        gains = " / ".join(
            f"{ratios[n]:.2f}" if n in ratios else "\u2013" for n in ("direct", "fft", "conv")
        )
        taps = f"{1 / ratios['taps']:.2f}" if "taps" in ratios else "\u2013"
        body.append([row["workload"], _kernels(row), *cells, gains, taps, _published(row)])
    return markdown(head, body)


def _published(row: dict) -> str:
    """How many times as long the published code took for the step."""
    known, own = PUBLISHED.get(row["workload"]), row["backends"].get("ours", {}).get("seconds")
    if row["mode"] != "train" or not known or not own:
        return "\u2013"
    return f"{known / own:.1f}"


def _time(result: dict | None) -> str:
    if result is None or "skipped" in result:
        return "\u2013"
    text = duration(result["seconds"])
    if len(result["samples"]) == 1:
        return text + " (once)"
    spread = (result["highest"] - result["lowest"]) / result["seconds"] / 2
    return f"{text} \u00b1{100 * spread:.0f}%"


def _memory(rows: list[dict]) -> str:
    names = _names(rows)
    kinds = {"peak_bytes": "tensors", "resident_bytes": "process"}
    parts = []
    for kind, label in kinds.items():
        body = []
        for row in rows:
            held = {n: row["backends"].get(n, {}).get(kind) for n in names}
            if not any(held.values()):
                continue
            cells = [f"{held[n] / 2**20:,.0f}" if held[n] else "\u2013" for n in names]
            both = held.get("fft") and held.get("ours")
            cells.append(f"{held['ours'] / held['fft']:.2f}" if both else "\u2013")
            body.append([row["workload"], _kernels(row), *cells])
        if body:
            labels = [BACKENDS[n].label for n in names]
            head = [f"peak memory, {label}, MiB", "kernel", *labels, "ours / plain FFT"]
            parts.append(markdown(head, body))
    return "\n\n".join(parts)


def _epochs(rows: list[dict]) -> str:
    body = [
        [row["workload"], row["precision"], BACKENDS[name].label, f"{seconds:.2f} s"]
        for row in rows
        for name, seconds in row["seconds"].items()
    ]
    return markdown(["workload", "precision", "backend", "an epoch"], body)


def _names(rows: list[dict]) -> list[str]:
    return [name for name in BACKENDS if any(name in row["backends"] for row in rows)]


def _kernels(row: dict) -> str:
    sizes = ["\u00d7".join(map(str, size)) for size in row["kernels"]]
    return ", ".join(sizes)


def chart(path: Path, values: dict[str, Any]) -> None:
    """Bars of all times, on a logarithmic scale, a column for each mode."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    modes = [mode for mode in TITLES if any(r["mode"] == mode for r in values["results"])]
    if not modes:
        return
    workloads = list(dict.fromkeys(row["workload"] for row in values["results"]))
    names = _names(values["results"])
    figure, axes = plt.subplots(
        1,
        len(modes),
        figsize=(3 + 4.5 * len(modes), 1.2 + 0.11 * len(workloads) * (len(names) + 1)),
        sharey=True,
        squeeze=False,
        layout="constrained",
    )
    for axis, mode in zip(axes[0], modes):
        rows = {row["workload"]: row for row in values["results"] if row["mode"] == mode}
        _bars(axis, workloads, names, rows)
        axis.set_title(TITLES[mode], fontsize=10)
    axes[0, 0].set_yticks(range(len(workloads)), workloads, fontsize=8)
    axes[0, 0].set_ylim(len(workloads) - 0.5, -0.5)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=len(labels), fontsize=8)
    write_figure(path, figure, dpi=120)
    plt.close(figure)


def _bars(axis, workloads: list[str], names: list[str], rows: dict[str, dict]) -> None:
    height = 0.8 / len(names)
    for index, name in enumerate(names):
        at, length, errors = [], [], [[], []]
        for position, workload in enumerate(workloads):
            result = rows.get(workload, {"backends": {}})["backends"].get(name)
            if result is None or "skipped" in result:
                continue
            at.append(position + (index + 0.5) * height - 0.4)
            length.append(result["seconds"])
            errors[0].append(result["seconds"] - result["lowest"])
            errors[1].append(result["highest"] - result["seconds"])
        axis.barh(
            at,
            length,
            height,
            xerr=errors,
            color=COLOURS[name],
            label=BACKENDS[name].label,
            error_kw={"lw": 0.7, "ecolor": "#333333"},
        )
    axis.set_xscale("log")
    axis.set_xlabel("seconds", fontsize=8)
    axis.tick_params(axis="x", labelsize=7)
    axis.grid(axis="x", lw=0.3)
    axis.set_axisbelow(True)
    axis.spines[["top", "right"]].set_visible(False)
