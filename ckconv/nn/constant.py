"""A convolution by Fourier transforms whose kernel, and its spectrum, no longer change."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

import ckconv.functional as F
from ckconv.errors import UsageError
from ckconv.functional import FactoredKernel
from ckconv.functional.geometry import as_uncropped, make_geometry

if TYPE_CHECKING:
    from jaxtyping import Float

    from ckconv.nn.conv import CKConv

_ONNX = (
    "ONNX knows Fourier transforms in part only: a layer that computes by them is exported as an "
    "ordinary convolution, which gives the same numbers"
)
_SETTINGS = ("dim", "padding", "padding_mode", "stride", "dilation", "groups", "causal_axis")


def convolve(
    layer: CKConv | SpectralConv,
    x: Tensor,
    kernel: FactoredKernel | Tensor,
    bias: Tensor | None,
    backend: str | None = None,
) -> Tensor:
    """The convolution that `layer` describes, of x (B, C, *size), with its kernel as it is now.

    By `backend`; None: by the layer's.
    """
    sizes = layer.kernel_size, kernel.shape[2:]
    x, padding = as_uncropped(x, layer.padding, *sizes, layer.dilation, layer.causal_axis)
    return F.conv(
        x,
        kernel,
        bias,
        causal=layer.causal_axis is not None,
        backend=backend or layer.backend,
        stride=layer.stride,
        padding=padding,
        dilation=layer.dilation,
        groups=layer.groups,
        padding_mode=layer.padding_mode,
        causal_axis=layer.causal_axis or 0,
    )


def is_faster_spectral(layer: CKConv, x: Tensor, kernel: FactoredKernel) -> bool:
    """Whether transforms should be the faster way for x (B, C, *size), the spectrum being known.

    As the layer itself chooses, but for a kernel that has been written out already.
    """
    if layer.backend != "auto":
        return layer.backend == "fft"
    sizes = layer.kernel_size, kernel.shape[2:]
    x, padding = as_uncropped(x, layer.padding, *sizes, layer.dilation, layer.causal_axis)
    shapes, steps = (x.shape[2:], kernel.shape[2:]), (layer.stride, layer.dilation)
    geometry = make_geometry(*shapes, *steps, padding, layer.padding_mode, layer.causal_axis)
    return F.choose_backend(x, kernel.dense(), geometry, kept=True) == "fft"


class SpectralConv(nn.Module):
    """What a layer computes, by transforms, with the spectrum of its kernel as numbers.

    Inputs of the size it was made for meet the spectrum; for others it is computed.

    Args:
        layer: the layer, whose settings are kept.
        kernel: its kernel, as sampled now.
        x: an input, (B, C, *size).
    """

    def __init__(self, layer: CKConv, kernel: FactoredKernel, x: Tensor) -> None:
        super().__init__()
        for name in _SETTINGS:
            setattr(self, name, getattr(layer, name))
        self.kernel_size, self.backend = layer.kernel_size, "fft"
        kept = kernel.keep()
        self.register_buffer("weight", kept.weight.clone())
        self.register_buffer("basis", kept.basis.clone())
        self.register_buffer("bias", None if layer.bias is None else layer.bias.detach().clone())
        convolve(self, x, kept, None)
        (self.laid_out, spectrum), *_ = [*kept.spectra.items(), (None, None)]
        self.register_buffer("spectrum", spectrum)

    def forward(self, x: Float[Tensor, "*batch_channels_size"]) -> Float[Tensor, "*batch_out_size"]:
        """(B, in_channels, *size) -> (B, out_channels, *out), or without B."""
        kernel = FactoredKernel(self.weight, self.basis)
        if torch.onnx.is_in_onnx_export():
            warnings.warn(_ONNX, stacklevel=2)
            return convolve(self, x, kernel, self.bias, "direct")
        if not torch.compiler.is_compiling() and torch.jit.is_tracing():
            self.__prepare_scriptable__()
        if self.spectrum is not None:
            kernel.spectra = _Constant(self.laid_out, self.spectrum)
        return convolve(self, x, kernel, self.bias)

    def __prepare_scriptable__(self) -> None:
        raise UsageError("TorchScript: script or trace ckconv.freeze(model), without spectral_for")

    def extra_repr(self) -> str:
        out, per_group = self.weight.shape[:2]
        return f"{per_group * self.groups}, {out}, kernel_size={tuple(self.basis.shape[1:])}"


class _Constant:
    """In the place of a kernel's spectra: one that is known."""

    def __init__(self, key: Hashable, spectrum: Tensor) -> None:
        self.key, self.spectrum = key, spectrum

    def get(self, key: Hashable, make: Callable[[], Tensor]) -> Tensor:
        """The spectrum for `key`, from `make` where it is another one."""
        if key != self.key:
            return make()
        return self.spectrum.to(torch.promote_types(self.spectrum.dtype, torch.float32))
