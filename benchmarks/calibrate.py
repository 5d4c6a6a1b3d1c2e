"""Fit the rates of the convolution's cost model to this machine.

    python benchmarks/calibrate.py [--device cpu|cuda] [--rounds 5]
    python benchmarks/calibrate.py --check    # the present rates on the layers of run.py's networks

Times a forward and backward pass of direct and spectral convolutions over a grid of shapes and fits
the seconds per operation that `ckconv.functional.spectral.plan` uses to choose between them. Prints
the rates in the form in which they stand there, and how often and by how much the choice they make
is worse than the better of the two. On a CPU it counts the processor time of one thread, which
other programs on the machine disturb least.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from pathlib import Path

import numpy as np
import torch
from scipy.optimize import least_squares

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import ckconv.functional as F  # noqa: E402
from benchmarks.workloads import WORKLOADS, make_problem  # noqa: E402
from ckconv.functional.spectral import plan  # noqa: E402

FUNCTIONS = 33
SHAPES_2D = [
    (batch, channels, out, size, k)
    for batch, channels, out, size in (
        (16, 3, 24, 32), (16, 24, 24, 32), (16, 48, 48, 32), (64, 24, 24, 32), (4, 24, 24, 96),
        (64, 16, 16, 8), (64, 8, 8, 28), (1, 24, 24, 32),
    )
    for k in (1, 3, 5, 7, 9, 13, 17, 25, 33)
]  # fmt: skip
SHAPES_1D = [
    (batch, channels, out, size, k)
    for batch, channels, out, size in (
        (32, 1, 30, 1024), (32, 30, 30, 784), (4, 30, 30, 16000), (64, 30, 30, 64), (1, 8, 8, 1024),
    )
    for k in (3, 9, 17, 33, 65, 127, 401, 1601)
]  # fmt: skip


def time_once(backend: str, leaves: list[torch.Tensor], grad: torch.Tensor, causal: bool) -> float:
    """Seconds of one forward and backward pass."""
    x, weight, basis = leaves
    clock = time.perf_counter if x.is_cuda else time.process_time
    if x.is_cuda:
        torch.cuda.synchronize()
    start = clock()
    y = F.conv(x, F.FactoredKernel(weight, basis), None, causal, backend)
    torch.autograd.grad(y, leaves, grad)
    if x.is_cuda:
        torch.cuda.synchronize()
    return clock() - start


def measure(shape: tuple[int, ...], dim: int, device: str, rounds: int) -> dict:
    """The fastest of `rounds` passes of each backend, taken in turn."""
    batch, channels, out, size, k = shape
    x = torch.randn(batch, channels, *[size] * dim, device=device)
    weight = torch.randn(out, channels, FUNCTIONS, device=device, requires_grad=True)
    basis = torch.randn(FUNCTIONS, *[k] * dim, device=device, requires_grad=True)
    grad = torch.randn(batch, out, *[size] * dim, device=device)
    if dim == 2 and device == "cpu":  # as networks pass images on there
        x, grad = (t.contiguous(memory_format=torch.channels_last) for t in (x, grad))
    x.requires_grad_()
    slow = batch * channels * out * (size * k) ** dim > 2e9 and device == "cpu"
    times = {"direct": math.inf, "fft": math.inf}
    for _ in range(1 if slow else rounds + 1):
        for backend in times:
            elapsed = time_once(backend, [x, weight, basis], grad, dim == 1)
            times[backend] = min(times[backend], elapsed)
    return {"shape": shape, "times": times, **operations(shape, dim, device)}


def operations(shape: tuple[int, ...], dim: int, device: str) -> dict[str, dict[str, float]]:
    """What each backend does for a shape, in the cost model's counts."""
    batch, channels, out, size, k = shape
    x_shape = (batch, channels, *[size] * dim)
    centre = k - 1 if dim == 1 else k // 2
    pad = ((min(centre, size - 1), min(k - 1 - centre, size - 1)),) * dim
    reached = (out, channels, *(before + after + 1 for before, after in pad))
    frames = plan.plan_frames(x_shape, reached, pad, FUNCTIONS, device)
    model = plan.CostModel(device)
    return {
        "direct": model.direct_counts(x_shape, reached, pad, FUNCTIONS),
        "fft": model.spectral_counts(x_shape, reached, frames, FUNCTIONS),
    }


def workload_layers(device: str) -> list[tuple[tuple[int, ...], int]]:
    """The shapes of the layers that `run.py` steps, and their dimensions.

    Those for which the present rates expect tenfold costs are left out: there the choice is clear,
    and a direct convolution may take minutes.
    """
    shapes = {}
    for workload in WORKLOADS.values():
        if workload.is_epoch:
            continue
        problem = make_problem(workload, torch.device(device), "fp32")
        batch, _, *size = problem.inputs.shape
        layers = dict(problem.model.named_modules())
        for name, kernel in problem.sizes.items():
            layer = layers[name]
            shape = batch, layer.in_channels, layer.out_channels, size[0], kernel[0]
            shapes[shape] = layer.dim
    return [(shape, dim) for shape, dim in shapes.items() if _is_close(shape, dim, device)]


def _is_close(shape: tuple[int, ...], dim: int, device: str) -> bool:
    counts = operations(shape, dim, device)
    expected = [plan.CostModel(device).seconds(counts[backend]) for backend in ("direct", "fft")]
    return max(expected) < 10 * min(expected)


def fit(rows: list[dict], names: list[str]) -> dict[str, float]:
    """Rates, in seconds per operation, that predict the logarithms of the times best."""

    def residuals(logs: np.ndarray) -> np.ndarray:
        rates, errors = dict(zip(names, np.exp(logs))), []
        for row in rows:
            times = row["times"]
            # Where the two are close, the prediction decides; elsewhere a rough one will do.
            weight = 1 / (0.3 + abs(math.log(times["direct"] / times["fft"])))
            for backend in times:
                predicted = sum(n * rates[key] for key, n in row[backend].items())
                errors.append(weight * math.log(predicted / times[backend]))
        return np.array(errors)

    start = np.log([1e-4 if name.endswith("start") else 1e-10 for name in names])
    found = least_squares(residuals, start, loss="soft_l1")
    return dict(zip(names, np.exp(found.x).tolist()))


def report(rows: list[dict], rates: dict[str, float]) -> None:
    """Print the rates and what choosing by them would cost on the measured shapes."""
    losses = []
    for row in rows:
        predicted = {b: sum(n * rates[k] for k, n in row[b].items()) for b in ("direct", "fft")}
        chosen = min(predicted, key=predicted.get)
        loss = row["times"][chosen] / min(row["times"].values())
        losses.append(loss)
        print(
            f"{str(row['shape']):28s} direct {row['times']['direct'] * 1e3:9.2f} ms "
            f"fft {row['times']['fft'] * 1e3:9.2f} ms  chose {chosen:6s} x{loss:.2f}"
        )
    print("{" + ", ".join(f'"{name}": {rate:.2e}' for name, rate in rates.items()) + "}")
    worse = [loss for loss in losses if loss > 1.1]
    print(
        f"{len(losses)} shapes; the choice is over 10 % slower than the better one on {len(worse)}"
        f", at worst x{max(losses):.2f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--check", action="store_true", help="of the present rates; fits none")
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.check:
        shapes = workload_layers(args.device)
        rows = [measure(shape, dim, args.device, args.rounds) for shape, dim in shapes]
        report(rows, plan.rates(args.device))
        return
    shapes = [(shape, 1) for shape in SHAPES_1D] + [(shape, 2) for shape in SHAPES_2D]
    rows = [measure(shape, dim, args.device, args.rounds) for shape, dim in shapes]
    names = list(dict.fromkeys(key for row in rows for b in ("direct", "fft") for key in row[b]))
    report(rows, fit(rows, names))


if __name__ == "__main__":
    main()
