"""Fit the rates of the convolution's cost model to this machine.

    python benchmarks/calibrate.py [--device cpu|cuda] [--rounds 5]
    python benchmarks/calibrate.py --kept     # a forward pass alone, with kernels that are kept
    python benchmarks/calibrate.py --check    # the present rates on the layers of run.py's networks

Times a forward and backward pass of direct and spectral convolutions, by FFT and by products of
matrices, over a grid of shapes and fits the seconds per operation that
`ckconv.functional.spectral.plan` uses to choose between them. Prints the rates in the form in which
they stand there, and how often and by how much the choice they make is worse than the best of them.
With `--kept` the rates stay, and those of direct convolutions are scaled, a number for each kind.
On a CPU it counts the processor time of one thread, which other programs on the machine disturb
least.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from dataclasses import astuple, dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import cfg  # noqa: E402, F401  # before torch, for how its threads wait

import torch  # noqa: E402

import ckconv.functional as F  # noqa: E402
from benchmarks.fitting import fit, fit_kept, predicted, refine  # noqa: E402
from benchmarks.workloads import WORKLOADS, make_problem  # noqa: E402
from ckconv.functional.geometry import make_geometry  # noqa: E402
from ckconv.functional.spectral import plan  # noqa: E402
from ckconv.functional.spectral.tiling import best_tiles  # noqa: E402

FUNCTIONS = 33
WAYS = {  # backend, and whether images are transformed by products of matrices
    "direct": ("direct", None),
    "fft": ("fft", False),
    "tiles": ("fft", True),
}


@dataclass(frozen=True)
class Shape:
    """A convolution: sizes are those of every axis; depthwise where `depthwise`."""

    dim: int
    batch: int
    channels: int
    out: int
    size: int
    kernel: int
    depthwise: bool = False

    @property
    def x(self) -> tuple[int, ...]:
        return (self.batch, self.channels, *[self.size] * self.dim)

    @property
    def weight(self) -> tuple[int, int]:
        return self.out, 1 if self.depthwise else self.channels

    @property
    def multiplications(self) -> float:
        return self.batch * math.prod(self.weight) * (self.size * self.kernel) ** self.dim


def _grid(dim: int, inputs: tuple, kernels: tuple, depthwise: bool = False) -> list[Shape]:
    return [Shape(dim, *one, k, depthwise) for one in inputs for k in kernels]


SHAPES = [
    *_grid(
        1,
        (
            (32, 1, 30, 1024), (32, 30, 30, 784), (4, 30, 30, 16000), (64, 30, 30, 64),
            (1, 8, 8, 1024),
        ),
        (3, 9, 17, 33, 65, 127, 401, 1601),
    ),
    *_grid(
        2,
        (
            (16, 3, 24, 32), (16, 24, 24, 32), (16, 48, 48, 32), (64, 24, 24, 32),
            (4, 24, 24, 96), (64, 16, 16, 8), (64, 8, 8, 28), (1, 24, 24, 32),
        ),
        (1, 3, 5, 7, 9, 13, 17, 25, 33),
    ),
    *_grid(3, ((2, 8, 8, 16), (4, 16, 16, 8)), (3, 5, 9)),
    *_grid(1, ((8, 32, 32, 1024), (4, 140, 140, 1024)), (9, 65, 401), depthwise=True),
    *_grid(2, ((8, 32, 32, 32), (4, 140, 140, 32)), (3, 9, 17, 33), depthwise=True),
    *_grid(3, ((2, 16, 16, 16),), (3, 5, 9), depthwise=True),
]  # fmt: skip


def time_once(
    way: str, x: torch.Tensor, kernel: F.FactoredKernel, grad: torch.Tensor | None, shape: Shape
) -> float:
    """Seconds of a forward pass, and with `grad`, the output's, of a backward pass."""
    backend, tiles = WAYS[way]
    clock = time.perf_counter if x.is_cuda else time.process_time
    groups = shape.channels if shape.depthwise else 1
    if x.is_cuda:
        torch.cuda.synchronize()
    start = clock()
    with F.using(tiles=tiles), torch.set_grad_enabled(grad is not None):
        y = F.conv(x, kernel, None, shape.dim == 1, backend, groups=groups)
    if grad is not None:
        torch.autograd.grad(y, [x, kernel.weight, kernel.basis], grad)
    if x.is_cuda:
        torch.cuda.synchronize()
    return clock() - start


def measure(shape: Shape, device: str, rounds: int, kept: bool = False) -> dict:
    """The fastest of `rounds` passes of each way, taken in turn; with `kept`, forward alone."""
    x = torch.randn(shape.x, device=device)
    weight = torch.randn(*shape.weight, FUNCTIONS, device=device, requires_grad=True)
    basis = torch.randn(FUNCTIONS, *[shape.kernel] * shape.dim, device=device, requires_grad=True)
    grad = torch.randn(shape.batch, shape.out, *shape.x[2:], device=device)
    if shape.dim == 2 and device == "cpu":  # as networks pass images on there
        x, grad = (t.contiguous(memory_format=torch.channels_last) for t in (x, grad))
    x.requires_grad_()
    made = F.FactoredKernel(weight, basis).keep()
    counts = operations(shape, device)
    slow = shape.multiplications > 2e9 and device == "cpu"
    times = dict.fromkeys(counts, math.inf)
    for _ in range(1 + kept if slow else rounds + 1):
        for way in times:
            kernel = made if kept else F.FactoredKernel(weight, basis)  # the latter without a cache
            taken = time_once(way, x, kernel, None if kept else grad, shape)
            times[way] = min(times[way], taken)
    return {"shape": shape, "times": times, "counts": counts}


def operations(shape: Shape, device: str) -> dict[str, dict[str, float]]:
    """What each way does for a shape, in the cost model's counts."""
    causal_axis = 0 if shape.dim == 1 else None
    size, whole = shape.x[2:], [shape.kernel] * shape.dim
    geometry = make_geometry(size, whole, 1, 1, "same", "zeros", causal_axis)
    slices, geometry = geometry.reachable(size, whole)
    reached = (*shape.weight, *(part.stop - part.start for part in slices))
    frames = plan.plan_frames(shape.x, reached, geometry.pad, FUNCTIONS, device)
    tiles = best_tiles(shape.x, reached, geometry, FUNCTIONS, device)
    model = plan.CostModel(device)
    counts = {
        "direct": model.direct_counts(shape.x, reached, geometry.pad, FUNCTIONS),
        "fft": model.spectral_counts(shape.x, reached, frames, FUNCTIONS),
    }
    if tiles is not None:
        counts["tiles"] = model.tiled_counts(shape.x, reached, tiles, FUNCTIONS)
    return counts


def workload_layers(device: str) -> list[Shape]:
    """The shapes of the layers that `run.py` steps.

    Those for which the present rates expect tenfold costs are left out: there the choice is clear,
    and a direct convolution may take minutes.
    """
    shapes = []
    for workload in WORKLOADS.values():
        if workload.is_epoch:
            continue
        problem = make_problem(workload, torch.device(device), "fp32")
        batch, _, *size = problem.inputs.shape
        layers = dict(problem.model.named_modules())
        for name, kernel in problem.sizes.items():
            layer = layers[name]
            channels = layer.in_channels, layer.out_channels
            shapes.append(Shape(layer.dim, batch, *channels, size[0], kernel[0]))
    return [shape for shape in dict.fromkeys(shapes) if _is_close(shape, device)]


def _is_close(shape: Shape, device: str) -> bool:
    model = plan.CostModel(device)
    direct, *spectral = (model.seconds(counts) for counts in operations(shape, device).values())
    return max(direct, min(spectral)) < 10 * min(direct, *spectral)


def report(rows: list[dict], rates: dict[str, float]) -> None:
    """Print the rates and what choosing by them would cost on the measured shapes."""
    losses = []
    for row in rows:
        expected = {way: predicted(counts, rates) for way, counts in row["counts"].items()}
        chosen = min(expected, key=expected.get)
        loss = row["times"][chosen] / min(row["times"].values())
        losses.append(loss)
        taken = " ".join(f"{way} {1e3 * t:9.2f} ms" for way, t in row["times"].items())
        numbers = astuple(row["shape"])[:-1]
        kind = "depthwise" if row["shape"].depthwise else ""
        print(f"{numbers!s:32s} {kind:9s} {taken}  chose {chosen:6s} x{loss:.2f}")
    show(rates)
    worse = [loss for loss in losses if loss > 1.1]
    print(
        f"{len(losses)} shapes; the choice is over 10 % slower than the best one on {len(worse)}"
        f", at worst x{max(losses):.2f}"
    )


def show(numbers: dict[str, float]) -> None:
    """Print them in the form in which they stand in the code."""
    print("{" + ", ".join(f'"{name}": {number:.2e}' for name, number in numbers.items()) + "}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--check", action="store_true", help="of the present rates; fits none")
    parser.add_argument("--kept", action="store_true", help="in evaluation: kernels are kept")
    args = parser.parse_args()
    torch.set_num_threads(1)
    shapes = workload_layers(args.device) if args.check else SHAPES
    rows = [measure(shape, args.device, args.rounds, args.kept) for shape in shapes]
    present = plan.rates(args.device)
    if args.check:
        report(rows, plan.rates(args.device, args.kept))
        return
    if args.kept:
        shares = fit_kept(rows, present)
        report(rows, present | {kind: share * present[kind] for kind, share in shares.items()})
        show(shares)
        return
    names = list(dict.fromkeys(key for row in rows for c in row["counts"].values() for key in c))
    report(rows, refine(rows, fit(rows, names)))


if __name__ == "__main__":
    main()
