"""The convolution itself: direct or by FFT, causal or centred, with kernels of any size.

    import ckconv.functional as F

    y = F.conv(x, kernel, bias, causal=True)

Arguments that PyTorch's `conv1d`, `conv2d` and `conv3d` have too are given by their names.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ckconv.errors import check_choice
from ckconv.functional.checks import check_input, check_shapes
from ckconv.functional.direct import direct_conv
from ckconv.functional.geometry import Geometry, make_geometry
from ckconv.functional.kernel import FactoredKernel, functions, last_output
from ckconv.functional.spectral import (
    CostModel,
    best_way,
    fft_conv,
    is_depthwise,
    remembered,
    spectral_conv,
)
from ckconv.functional.ways import Ways, current, full_precision, using

if TYPE_CHECKING:
    from jaxtyping import Float, Inexact

__all__ = [
    "FactoredKernel",
    "check_input",
    "choose_backend",
    "conv",
    "current",
    "full_precision",
    "last_output",
    "using",
]

BACKENDS = ("auto", "direct", "fft")
_PLAIN = {"dilation": 1, "groups": 1, "padding_mode": "zeros"}


def conv(
    x: Inexact[Tensor, "*batch_channels_size"],
    kernel: Float[Tensor, "out per_group *k"] | FactoredKernel,
    bias: Float[Tensor, " out"] | None = None,
    causal: bool = False,
    backend: str = "auto",
    stride: int | Sequence[int] = 1,
    padding: str | int | Sequence[str | int] = "same",
    *,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
    padding_mode: str | Sequence[str] = "zeros",
    causal_axis: int = 0,
) -> Inexact[Tensor, "*batch_out_size"]:
    """Cross-correlate `x` with `kernel`, in 1, 2 or 3 dimensions.

    Arguments that `torch.nn.functional.conv1d` has too mean the same; `same` may have a stride.
    Those that stand for one number or word per axis also take a sequence of them.

    Args:
        x: (B, C, L), (B, C, H, W) or (B, C, D, H, W), or without B. A complex one is convolved
            in its real and its imaginary part.
        kernel: (O, C / groups, *k), written out or factored; may be longer than the input.
        bias: (O,) or None.
        causal: output t reads inputs up to t only: the kernel's last sample meets the present.
            Otherwise the kernel's middle sample does.
        backend: `direct`, `fft`, or `auto`, which takes the one that is expected to be faster.
        stride: step between outputs.
        padding: samples on both sides; or `same`, output as long as the input; or `valid`, none.
        dilation: step between the input's samples that the kernel's meet.
        groups: groups of channels that are convolved apart.
        padding_mode: what is padded with: `zeros`, `circular`, `reflect` or `replicate`.
        causal_axis: the axis of time where there are several and `causal` is set, from 0; the
            others are centred.

    Returns:
        (B, O, *out), in the dtype of `x`. Samples that are not finite reach the outputs in whose
        receptive field they are, by a transform too; there, they reach all channels, as NaN.

    Raises:
        ValueError: for shapes that do not fit each other.
        UsageError: for an argument out of its range.
        TypeError, RuntimeError: for what is no tensor of floating-point numbers.
    """
    check_input(x)
    backend = current().backend or backend
    if callable(backend):
        dense = kernel.dense().to(x.dtype) if isinstance(kernel, FactoredKernel) else kernel
        how = {"dilation": dilation, "groups": groups, "padding_mode": padding_mode}
        how = {name: value for name, value in how.items() if value != _PLAIN[name]}
        how |= {"causal_axis": causal_axis} if causal and causal_axis else {}
        return backend(x, dense, bias, causal=causal, stride=stride, padding=padding, **how)
    check_choice("backend", backend, BACKENDS)
    batched = x if x.ndim == kernel.ndim else x[None]
    check_shapes(batched, kernel, bias, causal, groups)
    time, sizes = causal_axis if causal else None, (batched.shape[2:], kernel.shape[2:])
    geometry = make_geometry(*sizes, stride, dilation, padding, padding_mode, time)
    y = (_complex if x.is_complex() else _real)(batched, kernel, bias, geometry, backend)
    return y if batched is x else y[0]


def _real(
    x: Tensor,
    kernel: Tensor | FactoredKernel,
    bias: Tensor | None,
    geometry: Geometry,
    backend: str,
) -> Tensor:
    x, geometry = geometry.extend(x, but=geometry.circular)
    slices, geometry = geometry.reachable(x.shape[2:], kernel.shape[2:])
    is_factored = isinstance(kernel, FactoredKernel)
    kernel = kernel.crop(slices) if is_factored else kernel[(..., *slices)]
    if x.shape[0] == 0:
        backend = "direct"  # no transform takes an empty batch
    elif backend == "auto":
        backend = choose_backend(x, kernel, geometry, is_factored and kernel.spectra is not None)
    if backend == "fft" and (is_factored or is_depthwise(x.shape, kernel.shape)):
        return spectral_conv(x, kernel, bias, geometry)
    if is_factored:
        kernel = kernel.dense().to(x.dtype)
    bias = None if bias is None else bias.to(x.dtype)
    return (fft_conv if backend == "fft" else direct_conv)(x, kernel, bias, geometry)


def _complex(
    x: Tensor,
    kernel: Tensor | FactoredKernel,
    bias: Tensor | None,
    geometry: Geometry,
    backend: str,
) -> Tensor:
    """The real and the imaginary part of x, convolved as one batch."""
    parts = _real(torch.cat((x.real, x.imag)), kernel, None, geometry, backend)
    y = torch.complex(*parts.chunk(2))
    return y if bias is None else y + bias.view(-1, *[1] * (x.ndim - 2))


def choose_backend(
    x: Tensor, kernel: Tensor | FactoredKernel, geometry: Geometry, kept: bool = False
) -> str:
    """`direct` or `fft`, whichever is expected to take less time for these shapes and device.

    `kept`: the kernel is kept, and there is no backward pass.
    """
    shapes, cost = (tuple(x.shape), tuple(kernel.shape)), CostModel(x.device.type, kept)
    return _choice(*shapes, geometry, functions(kernel), cost, current())


@remembered
def _choice(
    x_shape: tuple,
    kernel_shape: tuple,
    geometry: Geometry,
    functions: int,
    cost: CostModel,
    ways: Ways,
) -> str:
    _, spectral = best_way(x_shape, kernel_shape, geometry, functions, cost.device, ways)
    steps = geometry.stride, geometry.dilation
    direct = cost.direct(x_shape, kernel_shape, geometry.pad, functions, *steps)
    return "fft" if spectral < direct else "direct"
