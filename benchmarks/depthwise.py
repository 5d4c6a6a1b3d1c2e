"""Training steps of a depthwise layer: ours, by groups of `nn.Conv`, and by a plain FFT.

    python benchmarks/depthwise.py [--rounds 3] [--threads 1] [--clock process|wall]

`SepFlexConv` with kernels of the given size, uncropped, forward and backward. The other two
convolve with the same sampled kernels, so that all else of a step is the same; "all else" is a step
whose convolution hands its input on, which is what no way of convolving can fall below. Processor
time, the least of the rounds, the ways in turn, so that other programs on the machine disturb
least. The system's share of it is what it takes to hand out new memory. By `--clock wall` the time
that passes, which says more of several threads.
"""

from __future__ import annotations

import argparse
import math
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import cfg  # noqa: E402, F401  # before torch, for how its threads wait

import torch  # noqa: E402
from torch import Tensor  # noqa: E402

import ckconv.functional as F  # noqa: E402
from ckconv import ConvConfig, SepFlexConv  # noqa: E402
from ckconv.functional.spectral.frames import fast_length  # noqa: E402

WORKLOADS = {  # input, kernel size per axis
    "33x33 on 96x96": ((4, 140, 96, 96), 33),
    "1,023 on 1,024": ((32, 140, 1024), 1023),
    "15,999 on 16,000": ((4, 140, 16000), 15999),
}
DIRECT_LIMIT = 2e9  # multiplications, over which nn.Conv takes from ten seconds to minutes


def plain_fft(x: Tensor, kernel: Tensor, bias: Tensor | None, causal: bool, **_: object) -> Tensor:
    """Both padded to the sum of their sizes, multiplied, and transformed back."""
    dim = x.ndim - 2
    axes, size = tuple(range(-dim, 0)), kernel.shape[2:]
    lengths = [fast_length(n + k - 1) for n, k in zip(x.shape[2:], size)]
    x_hat = torch.fft.rfftn(x, s=lengths, dim=axes)
    k_hat = torch.fft.rfftn(kernel[:, 0].flip(axes), s=lengths, dim=axes)
    y = torch.fft.irfftn(x_hat * k_hat, s=lengths, dim=axes)
    first = [0 if causal else k // 2 for k in size]
    y = y[(..., *(slice(a, a + n) for a, n in zip(first, x.shape[2:])))]
    return y if bias is None else y + bias.view(-1, *[1] * dim)


class _HandedOn(torch.autograd.Function):
    """The input itself in the convolution's place."""

    @staticmethod
    def forward(ctx, x: Tensor, kernel: Tensor) -> Tensor:  # noqa: ANN001
        ctx.save_for_backward(kernel)
        return x.clone()

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor, Tensor]:  # noqa: ANN001
        return grad.clone(), torch.ones_like(*ctx.saved_tensors)


def handed_on(x: Tensor, kernel: Tensor, bias: Tensor | None, **_: object) -> Tensor:
    """No convolution, all else of a step."""
    y = _HandedOn.apply(x, kernel)
    return y if bias is None else y + bias.view(-1, *[1] * (x.ndim - 2))


WAYS = {
    "ours": "auto",
    "nn.Conv by groups": "direct",
    "plain FFT": plain_fft,
    "all else": handed_on,
}


Clock = Callable[[], tuple[float, ...]]


def processor_seconds() -> tuple[float, float]:
    """Of this process until now: the program's and the system's."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime, used.ru_stime


CLOCKS = {  # and what a table says of it
    "process": (processor_seconds, "Processor ms, in brackets the system's share."),
    "wall": (lambda: (time.perf_counter(),), "Wall ms."),
}


class Problem:
    """A layer, its input, and the gradient of its output."""

    def __init__(self, shape: tuple[int, ...], size: int) -> None:
        torch.manual_seed(0)
        channels, dim = shape[1], len(shape) - 2
        self.layer = SepFlexConv(channels, channels, dim, conv=ConvConfig(horizon=str(size)))
        self.layer.mask.dynamic_cropping = False
        self.x, self.grad = torch.randn(shape, requires_grad=True), torch.randn(shape)
        self.multiplications = math.prod(shape) * size**dim

    def step(self, way: object, clock: Clock) -> tuple[float, ...]:
        """Seconds of a step, by parts."""
        start = clock()
        with F.using(backend=way):
            self.layer(self.x).backward(self.grad)
        return tuple(end - begun for begun, end in zip(start, clock()))


def measure(problem: Problem, rounds: int, clock: Clock) -> dict[str, tuple[float, ...]]:
    """The least time of each way, by the clock's parts; the ways in turn."""
    ways = dict(WAYS)
    if problem.multiplications > DIRECT_LIMIT:
        del ways["nn.Conv by groups"]
    times = {label: [] for label in ways}
    for _ in range(rounds):
        for label, way in ways.items():
            times[label].append(problem.step(way, clock))
    return {label: min(found, key=sum) for label, found in times.items()}


def row(name: str, times: dict[str, tuple[float, ...]]) -> str:
    """A line of the table."""
    total = {label: sum(parts) for label, parts in times.items()}
    gain = min(t for label, t in total.items() if label not in ("ours", "all else"))
    shares = {label: f" ({1e3 * parts[1]:,.0f})" for label, parts in times.items() if parts[1:]}
    cells = [
        f"{1e3 * total[label]:,.0f}{shares.get(label, '')}" if label in times else "-"
        for label in WAYS
    ]
    return f"| {name} | {' | '.join(cells)} | {gain / total['ours']:.1f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--clock", choices=CLOCKS, default="process")
    args = parser.parse_args()
    clock, unit = CLOCKS[args.clock]
    torch.set_num_threads(args.threads)
    print(f"{unit}\n")
    print("| kernel, input | " + " | ".join(WAYS) + " | gain |")
    print("| --- |" + " ---: |" * (len(WAYS) + 1))
    for name, (shape, size) in WORKLOADS.items():
        times = measure(Problem(shape, size), args.rounds, clock)
        print(row(f"{name}, batch {shape[0]}, {shape[1]} channels", times), flush=True)


if __name__ == "__main__":
    main()
