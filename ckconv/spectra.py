"""The spectra of kernels, measured: what `ckconv.antialiasing` bounds, seen and drawn.

Measured is the function behind a kernel, the generator times the mask, not one sampling of it:
it is evaluated far more finely than the layer does, and past [-1, 1] until the mask has decayed,
so that neither the sampling nor the ends of the kernel add frequencies of their own. A layer
without a mask, or whose mask is wide, and a generator alone do not end: they are measured under a
Gaussian window, whose own width in frequency `window_frequency` gives.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ckconv.nn.ck import Generator
from ckconv.nn.conv import CKConv

if TYPE_CHECKING:
    from jaxtyping import Float

REACH = 5.0  # standard deviations of the mask or window, on each side, that are sampled
WINDOW = 0.4  # sigma of the window where there is no mask


@dataclass
class Spectrum:
    """Shares of a kernel's energy by frequency, with several axes that of the fastest one."""

    frequencies: Tensor  # (n,) cycles per unit, rising from 0
    energy: Tensor  # (n,) adding up to 1

    def above(self, frequency: float) -> float:
        """The share of the energy over a frequency in cycles per unit."""
        return self.energy[self.frequencies > frequency].sum().item()

    def levels(self, end: float, most: int = 160) -> tuple[Tensor, Tensor]:
        """The energy in up to `most` equal bins from 0 to a frequency.

        Returns the bins' left edges, (n,), and their energy in dB under the highest one, (n,).
        """
        line = self.frequencies[1].item()
        width = line * math.ceil(end / most / line)  # as many of the spectrum's lines in every bin
        bins = int(end / width) + 1
        middles = self.frequencies + line / 2  # away from the edges, on which rounding decides
        index = (middles / width).long().clamp(max=bins)
        energy = torch.zeros(bins + 1, dtype=torch.float64).index_add_(0, index, self.energy)[:-1]
        return width * torch.arange(bins), 10 * (energy / energy.max()).clamp(min=1e-30).log10()


def window_frequency(gauss_stddevs: float = 2.0, window: float = WINDOW) -> float:
    """What the window adds to the highest frequency of a kernel without mask, in cycles/unit."""
    return gauss_stddevs / (2 * math.pi * window)


@torch.no_grad()
def evaluate(
    source: CKConv | Generator,
    axes: Sequence[Float[Tensor, " _"]],
    kernels: int | Sequence[int] = 16,
) -> Float[Tensor, " kernels *size"]:
    """The functions behind a layer's kernels at a grid of positions, (kernels, *size).

    `axes` holds a vector of positions per axis. `kernels` are so many from the first on, or those
    of these numbers, `output channel * input channels + input channel`. Masked, never cropped.
    """
    chosen = slice(kernels) if isinstance(kernels, int) else list(kernels)
    generator = source if isinstance(source, Generator) else source.generator
    training = generator.training
    generator.eval()
    grid = torch.stack(torch.meshgrid(*axes, indexing="ij"))  # (dim, *size)
    hidden = generator.hidden(grid.flatten(1))  # (H, N)
    output = generator.output().to(hidden.dtype)[chosen]  # (kernels, H + 1)
    values = torch.addmm(output[:, -1:], output[:, :-1], hidden)
    generator.train(training)
    values = values.view(-1, *grid.shape[1:])
    mask = source.mask if isinstance(source, CKConv) else None
    return values if mask is None else values * mask(axes)


def sampled(
    source: CKConv | Generator, kernel_size: int, finer: int = 1
) -> Float[Tensor, " kernels *size"]:
    """The kernels as sampled on [-1, 1] with `finer` times as many steps, (kernels, *size)."""
    line = torch.linspace(-1, 1, (kernel_size - 1) * finer + 1)
    return evaluate(source, [line] * source.dim)


def measure(
    source: CKConv | Generator,
    kernel_size: int,
    oversample: int = 8,
    window: float = WINDOW,
    kernels: int | Sequence[int] = 16,
) -> Spectrum:
    """The spectrum of the function behind a layer's kernels, of all of them together.

    Args:
        source: a layer or a generator, on the CPU.
        kernel_size: samples on [-1, 1] of the kernel in question.
        oversample: how many times as finely it is sampled here.
        window: sigma of the Gaussian window that is laid over a source without a mask, or with a
            wider one.
        kernels: how many of the layer's kernels are measured, from the first on, or which.
    """
    frequencies, energy = _energies(source, kernel_size, oversample, window, kernels)
    return _collected(frequencies, energy.sum(0))


def measure_each(
    source: CKConv | Generator,
    kernel_size: int,
    oversample: int = 8,
    window: float = WINDOW,
    kernels: int | Sequence[int] = 16,
) -> list[Spectrum]:
    """The spectra of the functions behind a layer's kernels, one by one; as `measure`."""
    frequencies, energy = _energies(source, kernel_size, oversample, window, kernels)
    return [_collected(frequencies, one) for one in energy]


def _energies(
    source: CKConv | Generator,
    kernel_size: int,
    oversample: int,
    window: float,
    kernels: int | Sequence[int],
) -> tuple[Tensor, Tensor]:
    """The frequencies of a kernel's lines, (n,), and the kernels' energy there, (kernels, n)."""
    step = 2 / (max(kernel_size, 2) - 1) / oversample
    mask = source.mask if isinstance(source, CKConv) else None
    centres, sigmas = [0.0] * source.dim, [math.inf] * source.dim
    if mask is not None:
        centres, sigmas = mask.mean.tolist(), mask.effective_sigma.tolist()
    reach = max(REACH * min(max(sigmas), window), 1.0)  # at least 1, for bins of 1/2 or less
    half = math.ceil(reach / step)
    axes = [centre + step * torch.arange(-half, half + 1) for centre in centres]
    values = evaluate(source, axes, kernels).double()
    for d, (axis, centre, sigma) in enumerate(zip(axes, centres, sigmas)):
        if sigma > window:
            bell = torch.exp(-0.5 * ((axis - centre).double() / window).square())
            values = values * bell.view(-1, *[1] * (source.dim - 1 - d))
    dims = tuple(range(1, source.dim + 1))
    energy = torch.fft.fftn(values, dim=dims).abs().square()  # (kernels, *size)
    along = [torch.fft.fftfreq(len(axis), step).abs() for axis in axes]
    fastest = torch.stack(torch.meshgrid(*along, indexing="ij")).amax(0)  # (*size)
    return fastest.flatten(), energy.flatten(1)


def _collected(frequencies: Tensor, energy: Tensor) -> Spectrum:
    """Add up the energy of equal frequencies."""
    rounded = (frequencies.double() * 1e6).round()
    levels, index = torch.unique(rounded, return_inverse=True)
    total = torch.zeros(len(levels), dtype=energy.dtype).index_add_(0, index, energy)
    return Spectrum(levels / 1e6, total / total.sum().clamp(min=1e-300))
