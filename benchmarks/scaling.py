"""Cost against kernel size and against sequence length, up to 262,144 taps.

    python benchmarks/scaling.py [--longest 262144]

Times a forward and backward pass of one layer, kernel generation included: of a causal layer
whose kernel is as long as the sequence, of one with kernels of all sizes over the longest
sequence, and of an image layer with kernels of all sizes. Fits the exponents of the growth, which
for N log N are those of the dashed line. Writes JSON and a chart.
"""

from __future__ import annotations

import argparse
import math
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import cfg  # noqa: E402, F401  # before torch, for how its threads wait

import numpy as np  # noqa: E402
import torch  # noqa: E402

from benchmarks import report  # noqa: E402
from benchmarks.backends import BACKENDS  # noqa: E402
from benchmarks.measure import (  # noqa: E402
    SHORTEST,
    Settings,
    add_options,
    chosen_device,
    machine,
    timed,
)
from ckconv import ConvConfig, KernelConfig  # noqa: E402
from ckconv.nn import CKConv  # noqa: E402
from program.files import write_figure, write_json  # noqa: E402

CHANNELS, FIRST = 8, 64
IMAGE = (16, 24, 32, 32)  # a batch in the middle of FlexNet-7
IMAGE_KERNELS = (1, 3, 5, 7, 9, 13, 17, 25, 33)
PATIENCE = 6.0  # seconds: a backend that takes longer is not asked for larger sizes
NAMES = ("direct", "fft", "ours")
FIT_FROM = 4096  # below, the cost is that of starting


def time_layer(
    backend: str, shape: tuple[int, ...], kernel: int | str, settings: Settings
) -> float:
    """Seconds of a forward and backward pass of one layer on an input (B, C, *size)."""
    torch.manual_seed(0)
    dim = len(shape) - 2
    horizon = kernel if kernel == "same" else str(kernel)
    layer = CKConv(shape[1], shape[1], dim, KernelConfig(), ConvConfig(horizon=horizon))
    layer.to(settings.device)
    x = torch.randn(shape, device=settings.device, requires_grad=True)
    grad = torch.randn(shape, device=settings.device)

    def step() -> None:
        layer.zero_grad(set_to_none=True)
        x.grad = None
        layer(x).backward(grad)

    with BACKENDS[backend].active():
        first = timed(step, settings)
        if first > PATIENCE:
            return first
        repeats = max(1, round(SHORTEST / max(timed(step, settings), 1e-9)))
        return statistics.median(timed(step, settings, repeats) for _ in range(settings.rounds))


def sweep(
    points: Sequence[tuple[int, tuple[int, ...], int | str]], settings: Settings
) -> dict[str, list[tuple[int, float]]]:
    """Seconds by backend over (size, input shape, kernel), from small to large."""
    found: dict[str, list[tuple[int, float]]] = {name: [] for name in NAMES}
    for size, shape, kernel in points:
        for name in NAMES:
            if found[name] and found[name][-1][1] * growth(name, found[name], size) > PATIENCE:
                continue
            found[name].append((size, time_layer(name, shape, kernel, settings)))
        taken = ", ".join(f"{n} {report.duration(r[-1][1])}" for n, r in found.items() if r)
        print(f"{tuple(shape)}, kernel {kernel}: {taken}", flush=True)
    return found


def growth(name: str, found: list[tuple[int, float]], size: int) -> float:
    """By how much the cost of the next size is going to be larger; never expected of ours."""
    if name == "ours":
        return 0.0
    return (size / found[-1][0]) ** (2 if name == "direct" else 1)


def exponent(rows: Sequence[tuple[int, float]], first: int = FIT_FROM) -> float | None:
    """The p of the growth as N^p from `first` on; None for fewer than three points there."""
    rows = [(n, t) for n, t in rows if n >= first]
    if len(rows) < 3:
        return None
    sizes, times = np.log(np.array(rows, dtype=float)).T
    return float(np.polyfit(sizes, times, 1)[0])


def n_log_n(rows: Sequence[tuple[int, float]]) -> list[tuple[int, float]]:
    """The line of N log N through the last point."""
    last, seconds = rows[-1]
    return [(n, seconds * n * math.log2(n) / (last * math.log2(last))) for n, _ in rows if n > 1]


def run(longest: int, settings: Settings) -> dict[str, Any]:
    lengths = [FIRST << i for i in range(int(math.log2(longest // FIRST)) + 1)]
    long_input = (1, CHANNELS, longest)
    sweeps = {
        "length": [(n, (1, CHANNELS, n), "same") for n in lengths],
        "kernel": [(n, long_input, n + 1) for n in lengths],
        "image": [(k, IMAGE, k) for k in IMAGE_KERNELS],
    }
    found = {name: sweep(points, settings) for name, points in sweeps.items()}
    return {
        "seconds": found,
        "exponents": {
            name: {
                **{backend: exponent(rows) for backend, rows in found[name].items()},
                "N log N": exponent(n_log_n(found[name]["ours"])),
            }
            for name in ("length", "kernel")
        },
    }


def chart(path: Path, values: dict[str, Any]) -> None:
    """Three panels on logarithmic scales."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    longest = values["seconds"]["kernel"]["ours"][-1][0]
    titles = {
        "length": f"sequences, kernel as long as they are\n1 \u00d7 {CHANNELS} channels",
        "kernel": f"kernel sizes over {longest:,} steps\n1 \u00d7 {CHANNELS} channels",
        "image": "kernel sizes k \u00d7 k over images\n" + " \u00d7 ".join(map(str, IMAGE)),
    }
    axes_names = {"length": "steps", "kernel": "taps", "image": "k"}
    figure, axes = plt.subplots(1, 3, figsize=(13, 4.4), layout="constrained")
    for axis, (name, title) in zip(axes, titles.items()):
        for backend, rows in values["seconds"][name].items():
            line = {"color": report.COLOURS[backend], "label": BACKENDS[backend].label}
            axis.plot(*zip(*rows), "o-", ms=3, lw=1.2, **line)
        if name != "image":
            _draw_n_log_n(axis, values, name)
        axis.set_xscale("log", base=2 if name != "image" else 10)
        axis.set_yscale("log")
        axis.set_title(title, fontsize=9)
        axis.set_xlabel(axes_names[name], fontsize=8)
        axis.tick_params(labelsize=7)
        axis.grid(lw=0.3)
        axis.legend(fontsize=7)
        axis.spines[["top", "right"]].set_visible(False)
    axes[2].set_xticks(IMAGE_KERNELS, IMAGE_KERNELS)
    axes[2].minorticks_off()
    axes[0].set_ylabel("seconds, forward and backward", fontsize=8)
    write_figure(path, figure, dpi=120)
    plt.close(figure)


def _draw_n_log_n(axis, values: dict[str, Any], name: str) -> None:
    rows = [row for row in values["seconds"][name]["ours"] if row[0] >= FIT_FROM]
    if len(rows) < 2:
        return
    own, ideal = (values["exponents"][name][key] for key in ("ours", "N log N"))
    text = "N log N" if own is None else f"N log N (exponents: {ideal:.2f}, ours {own:.2f})"
    axis.plot(*zip(*n_log_n(rows)), "k--", lw=0.8, label=text)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--longest", type=int, default=262144, help="a power of two")
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks" / "results")
    add_options(parser)
    args = parser.parse_args(arguments)
    if args.longest < 2 * FIRST or args.longest & (args.longest - 1):
        parser.error(f"--longest {args.longest}: give a power of two from {2 * FIRST} on")
    device = chosen_device(parser, args)
    settings = Settings(device, rounds=args.rounds, clock=args.clock)
    values = {"machine": machine(device), "clock": args.clock, **run(args.longest, settings)}
    args.output.mkdir(parents=True, exist_ok=True)
    files = args.output / f"scaling-{device.type}"
    write_json(files.with_suffix(".json"), values, indent=1)
    chart(files.with_suffix(".png"), values)
    for name, exponents in values["exponents"].items():
        fitted = ", ".join(f"{k} {p:.2f}" for k, p in exponents.items() if p is not None)
        print(f"growth with the {name}, as N^p: p = {fitted}")
    print(f"wrote {files}.json and .png")


if __name__ == "__main__":
    main()
