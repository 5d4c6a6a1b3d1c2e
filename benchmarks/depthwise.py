"""Training steps of a depthwise layer: ours, by groups of `nn.Conv`, and by a plain FFT.

    python benchmarks/depthwise.py [--rounds 3]

`SepFlexConv` with kernels of the given size, uncropped. The other two convolve with the same
sampled kernels, so that all else of a step is the same. Processor time of one thread, the least of
the rounds, which other programs on the machine disturb least.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from pathlib import Path

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

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


WAYS = {"ours": "auto", "nn.Conv by groups": "direct", "plain FFT": plain_fft}


def seconds(shape: tuple[int, ...], size: int, way: object, rounds: int) -> float:
    """The least time of a step: forward, backward of the output's mean square."""
    torch.manual_seed(0)
    layer = SepFlexConv(shape[1], shape[1], len(shape) - 2, conv=ConvConfig(horizon=str(size)))
    layer.mask.dynamic_cropping = False
    x = torch.randn(shape, requires_grad=True)
    best = math.inf
    for _ in range(rounds):
        start = time.process_time()
        with F.using(backend=way):
            layer(x).square().mean().backward()
        best = min(best, time.process_time() - start)
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    print("| kernel, input | " + " | ".join(f"{way}, ms" for way in WAYS) + " | gain |")
    print("| --- |" + " ---: |" * (len(WAYS) + 1))
    for name, (shape, size) in WORKLOADS.items():
        times = {}
        count = math.prod(shape) * size ** (len(shape) - 2)
        for label, way in WAYS.items():
            if way == "direct" and count > DIRECT_LIMIT:
                times[label] = math.inf
                continue
            times[label] = seconds(shape, size, way, 1 if way == "direct" else rounds)
        gain = min(t for label, t in times.items() if label != "ours") / times["ours"]
        row = " | ".join("-" if t == math.inf else f"{1e3 * t:,.0f}" for t in times.values())
        print(f"| {name}, batch {shape[0]}, {shape[1]} channels | {row} | {gain:.1f} |", flush=True)


if __name__ == "__main__":
    main()
