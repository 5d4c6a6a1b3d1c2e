"""Kernels that do not alias: their highest frequencies, Nyquist's, and the loss between the two.

A kernel that holds no frequency over Nyquist's gives the same response when it is sampled more
finely, so that a network trained at one resolution works at another (FlexConv paper, section
3.3). For multiplicative filter networks the highest frequency is known from the weights.

Frequencies are in Hz over positions on [-1, 1], along the axis on which they are highest. A
Gaussian has no highest frequency; `gauss_stddevs` says how many standard deviations of its
spectrum are counted. `ckconv.spectra` measures what is bounded here, and
`python -m ckconv.antialiasing` draws both.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as nnf
from torch import Tensor, nn

from ckconv.errors import UsageError, check_choice
from ckconv.nn.ck import MFN, FourierFilter, GaborFilter, Generator, SteerableGaborFilter
from ckconv.nn.conv import CKConv
from ckconv.nn.mask import GaussianMask

TARGETS = ("gabor", "gabor+mask")
FUNCTIONS = ("l2_relu", "offset_elu")
METHODS = ("together", "summed")

# The published loss offset_elu(x) = 5 (elu(x - 4) + 1), which also pushes down frequencies that
# are a few Hz under Nyquist's.
ELU_OFFSET, ELU_FACTOR = 4.0, 5.0


def nyquist(kernel_size: int | Sequence[int]) -> float:
    """The highest frequency, in Hz, that a kernel of so many samples on [-1, 1] can hold.

    With one size per axis, that of the coarsest axis.
    """
    size = kernel_size if isinstance(kernel_size, int) else min(kernel_size)
    return (size - 1) / 4


def frequencies(source: CKConv | Generator, gauss_stddevs: float = 2.0) -> Tensor:
    """The highest frequency of each of a generator's filters, (filters,), in Hz.

    Of sines, `max |W| / 2 pi`; under Gaussians `gauss_stddevs * max gamma / 2 pi` more. The
    generator's own highest frequency is their sum, because it multiplies them.

    Raises `UsageError` for a generator without such a bound.
    """
    filters = _filters(source)
    return _filter_frequencies(filters, gauss_stddevs)


def mask_frequency(source: CKConv | GaussianMask, gauss_stddevs: float = 2.0) -> Tensor:
    """What a Gaussian mask adds to a kernel's highest frequency, a scalar in Hz.

    `gauss_stddevs / (2 pi min sigma)`; zero for a layer that has no mask.
    """
    mask = source if isinstance(source, GaussianMask) else source.mask
    if mask is None:
        return torch.zeros((), device=next(source.parameters()).device)
    return gauss_stddevs / (2 * math.pi * mask.effective_sigma.amin())


def bound(source: CKConv | Generator, gauss_stddevs: float = 2.0) -> Tensor:
    """The highest frequency of a layer's masked kernel, or of a generator alone, in Hz.

    Raises `UsageError` for a generator without such a bound.
    """
    generator = frequencies(source, gauss_stddevs).sum()
    if isinstance(source, Generator):
        return generator
    return generator + mask_frequency(source, gauss_stddevs)


def regularizer(
    model: nn.Module,
    res: int,
    factor: float,
    target: str = "gabor+mask",
    fn: str = "l2_relu",
    method: str = "together",
    gauss_stddevs: float = 2.0,
    res_offset: int = 0,
) -> Tensor:
    """The anti-aliasing loss, a scalar: `factor` times the penalty on frequencies over Nyquist.

    Summed over the continuous-kernel layers of `model` (FlexConv paper, section 3.3).

    Args:
        model: a layer or a network. Ordinary convolutions and N-Jets in it add nothing.
        res: the kernel size to regularize for, in samples; 0: that of each layer as it is now.
        factor: weight of the loss.
        target: `gabor+mask`, or `gabor` to leave the masks out.
        fn: `l2_relu`, the square of what is over Nyquist; `offset_elu`, `5 (elu(x - 4) + 1)`.
        method: `together`: each filter with its share of the mask against its share of Nyquist,
            shares being equal; `summed`: the sum of the filters and the mask against Nyquist.
        gauss_stddevs: standard deviations of a Gaussian's spectrum that are counted.
        res_offset: added to the kernel size.

    Raises:
        UsageError: for a generator without analytic frequencies, and for unknown settings.
    """
    check_choice("kernel.regularize_params.target", target, TARGETS)
    check_choice("kernel.regularize_params.fn", fn, FUNCTIONS)
    check_choice("kernel.regularize_params.method", method, METHODS)
    layers = [module for module in model.modules() if isinstance(module, CKConv)]
    losses = []
    # Layers that are alike go through together: a training step launches a few kernels for all.
    for limit, masked, group in _groups(layers, res, res_offset, "mask" in target):
        filters = [f for layer in group for f in _filters(layer)]
        own = _filter_frequencies(filters, gauss_stddevs).view(len(group), -1)  # (layers, filters)
        if method == "summed":
            own = own.sum(1, keepdim=True)
        masks = _mask_frequencies(group, gauss_stddevs)[:, None] if masked else 0.0
        excess = own + (masks - limit) / own.shape[1]
        losses.append(_penalty(excess, fn).sum())
    if not losses:
        parameter = next(model.parameters(), torch.zeros(()))
        return torch.zeros((), device=parameter.device)
    return factor * torch.stack(losses).sum()


def _penalty(excess: Tensor, fn: str) -> Tensor:
    if fn == "l2_relu":
        return excess.relu().square()
    return ELU_FACTOR * (nnf.elu(excess - ELU_OFFSET) + 1)


def _groups(
    layers: list[CKConv], res: int, res_offset: int, use_masks: bool
) -> list[tuple[float, bool, list[CKConv]]]:
    """Groups of layers with the same Nyquist frequency and filters that can be stacked.

    With each, its Nyquist frequency in Hz and whether its masks count.
    """
    groups: dict[tuple, list[CKConv]] = {}
    for layer in layers:
        limit = nyquist(_regularized_size(layer, res) + res_offset)
        if limit < 0:
            raise UsageError(
                f"kernel.regularize_params.res={res} kernel.regularize_params.res_offset="
                f"{res_offset}: make the kernel size that they add up to at least 1"
            )
        masked = use_masks and layer.mask is not None
        kind = (type(layer.generator), layer.dim, len(_filters(layer)))
        groups.setdefault((limit, masked, *kind), []).append(layer)
    return [(key[0], key[1], group) for key, group in groups.items()]


def _regularized_size(layer: CKConv, res: int) -> int:
    if res:
        return res
    if layer.kernel_size is None:
        raise UsageError(
            f"kernel.regularize_params.res=0: with conv.horizon={layer.horizon} the first input "
            "fixes the kernel's size, and there has been none; run the layer once, or give res"
        )
    return min(layer.kernel_size)


def _filters(source: CKConv | Generator) -> list[FourierFilter]:
    """The filters of a multiplicative filter network."""
    generator = source if isinstance(source, Generator) else source.generator
    if not isinstance(generator, MFN):
        raise UsageError(
            f"kernel.type={type(generator).__name__}: its frequencies have no analytic bound, so "
            "that it cannot be regularized against aliasing; use MAGNet, Gabor or Fourier, or "
            "kernel.regularize=False"
        )
    return list(generator.filters)


def _filter_frequencies(filters: list[FourierFilter], gauss_stddevs: float) -> Tensor:
    """The highest frequency of each filter, (filters,), in Hz."""
    radians = _largest([f.linear.effective_weight() for f in filters])
    if isinstance(filters[0], GaborFilter):
        radians = radians + gauss_stddevs * _largest([_inverse_widths(f) for f in filters])
    return radians / (2 * math.pi)


def _inverse_widths(gabor: GaborFilter) -> Tensor:
    """1 / sigma of a filter's Gaussians, (units, 1 or axes): in the spectrum, its widths.

    A rotated Gaussian's spectrum is rotated with it; along an axis of the image its standard
    deviation is the root of the rotated variances.
    """
    if not isinstance(gabor, SteerableGaborFilter):
        return gabor.gamma
    angle = 2 * math.pi * gabor.theta[:, None]
    share = torch.cat((angle.cos(), angle.sin()), dim=1).square()  # (units, 2)
    variance = gabor.gamma.square()
    return torch.stack(((share * variance).sum(1), (share.flip(1) * variance).sum(1)), 1).sqrt()


def _mask_frequencies(layers: list[CKConv], gauss_stddevs: float) -> Tensor:
    """`mask_frequency` of several layers, (layers,)."""
    narrowest = torch.stack([layer.mask.effective_sigma for layer in layers]).amin(1)
    return gauss_stddevs / (2 * math.pi * narrowest)


def _largest(tensors: list[Tensor]) -> Tensor:
    """The largest magnitude in each tensor, (tensors,)."""
    if len({tensor.shape for tensor in tensors}) == 1:
        return torch.stack(tensors).abs().flatten(1).amax(1)
    return torch.stack([tensor.abs().amax() for tensor in tensors])
