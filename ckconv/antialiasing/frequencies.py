"""The highest frequencies of kernels, from their weights, and Nyquist's.

A kernel that holds no frequency over Nyquist's gives the same response when it is sampled more
finely, so that a network trained at one resolution works at another (FlexConv paper, section
3.3). For multiplicative filter networks the highest frequency is known from the weights.

Frequencies are in cycles per unit of position, on [-1, 1], along the axis on which they are
highest. A Gaussian has no highest frequency; `gauss_stddevs` says how many standard deviations
of its spectrum are counted. `ckconv.spectra` measures what is bounded here, and
`python -m ckconv.antialiasing` draws both.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ckconv.config import RegularizeConfig
from ckconv.errors import UsageError
from ckconv.nn.ck import GENERATORS, Generator
from ckconv.nn.conv import CKConv
from ckconv.nn.mask import Mask

if TYPE_CHECKING:
    from jaxtyping import Float


def nyquist(kernel_size: int | Sequence[int]) -> float:
    """The highest frequency, in cycles per unit, that so many samples on [-1, 1] can hold.

    With one size per axis, that of the coarsest axis.
    """
    size = kernel_size if isinstance(kernel_size, int) else min(kernel_size)
    return (size - 1) / 4


def frequencies(
    source: CKConv | Generator, gauss_stddevs: float = RegularizeConfig.gauss_stddevs
) -> Float[Tensor, " filters"]:
    """The highest frequency of each of a generator's filters, (filters,), in cycles per unit.

    Of sines, `max |W| / 2 pi`; under Gaussians `gauss_stddevs * max gamma / 2 pi` more. The
    generator's own highest frequency is their sum, because it multiplies them.

    Raises `UsageError` for a generator without such a bound.
    """
    generator = source if isinstance(source, Generator) else source.generator
    return frequencies_of([generator], gauss_stddevs)[0]


def frequencies_of(
    generators: Sequence[Generator], gauss_stddevs: float
) -> Float[Tensor, "generators filters"]:
    """`frequencies` of several generators of one kind, (generators, filters)."""
    kind = type(generators[0])
    if not kind.is_bounded:
        raise UsageError(
            f"kernel.type={kind.__name__}: its frequencies have no analytic bound, so that it "
            f"cannot be regularized against aliasing; use {_bounded()}, or kernel.regularize=False"
        )
    return kind.highest_frequencies(generators, gauss_stddevs)


def mask_frequency(
    source: CKConv | Mask, gauss_stddevs: float = RegularizeConfig.gauss_stddevs
) -> Float[Tensor, ""]:
    """What a mask adds to a kernel's highest frequency, a scalar in cycles per unit.

    Of a Gaussian `gauss_stddevs / (2 pi min sigma)`; zero for a layer that has no mask.
    """
    mask = source if isinstance(source, Mask) else source.mask
    if mask is None:
        return torch.zeros((), device=next(source.parameters()).device)
    return mask.bandwidth(gauss_stddevs) / (2 * math.pi * mask.effective_sigma.amin())


def bound(
    source: CKConv | Generator, gauss_stddevs: float = RegularizeConfig.gauss_stddevs
) -> Float[Tensor, ""]:
    """The highest frequency of a layer's masked kernel, or a generator's, in cycles per unit.

    Raises `UsageError` for a generator without such a bound.
    """
    generator = frequencies(source, gauss_stddevs).sum()
    if isinstance(source, Generator):
        return generator
    return generator + mask_frequency(source, gauss_stddevs)


def _bounded() -> str:
    """The names of the generators that have an analytic bound, the best first, in a phrase."""
    names = [name for name, kind in reversed(GENERATORS.items()) if kind.is_bounded]
    return " or ".join((", ".join(names[:-1]), names[-1]))
