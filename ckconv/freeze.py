"""A copy of a network for deployment: kernels sampled for good, in ordinary convolutions."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from ckconv.errors import UsageError
from ckconv.functional.geometry import per_axis, positions, sides
from ckconv.nn import CKConv, NJet, SepFlexConv
from ckconv.nn.constant import SpectralConv, is_faster_spectral

_CONV = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
_PAD = {1: nn.ConstantPad1d, 2: nn.ConstantPad2d, 3: nn.ConstantPad3d}


@torch.no_grad()
def freeze(model: nn.Module, spectral_for: Tensor | Sequence[Tensor] | None = None) -> nn.Module:
    """A copy of `model`, in evaluation, that holds no generators: its kernels are numbers.

    Every layer with a continuous kernel becomes an `nn.Conv1d`, `nn.Conv2d` or `nn.Conv3d` with
    the kernel as sampled now, cropped; with what pads its input in front where that convolution's
    own padding cannot, as in a causal layer. `torch.export`, the ONNX exporter, `torch.jit` and
    `torch.compile(fullgraph=True)` take the copy. It learns nothing and has no resolution to set:
    keep the model for that. The model itself is not changed; hooks on its layers are not copied.

    Args:
        model: any network.
        spectral_for: the network's input, or inputs, on which the copy shall be fast. A layer that
            transforms are expected to be faster for, as with long kernels, then becomes one with
            the kernel's spectrum as numbers, for `torch.export` and `torch.compile`. ONNX, which
            knows no such transforms, is given the kernel instead; `torch.jit.script` takes no such
            copy: leave it out for that.

    Raises:
        UsageError: for a layer that has no kernel size yet, or whose class computes more than
            its convolution.
    """
    layers = {n: m for n, m in model.named_modules() if isinstance(m, CKConv | NJet)}
    seen: dict[nn.Module, Tensor] = {}
    if spectral_for is not None:
        seen = _inputs_of(model, spectral_for)
    memo = {id(layer): _frozen(name, layer, seen.get(layer)) for name, layer in layers.items()}
    return copy.deepcopy(model, memo).eval().requires_grad_(False)


def _inputs_of(model: nn.Module, inputs: Tensor | Sequence[Tensor]) -> dict[nn.Module, Tensor]:
    """What each continuous-kernel layer is given in an evaluation of `inputs`."""
    seen: dict[nn.Module, Tensor] = {}
    hooks = [
        layer.register_forward_pre_hook(lambda layer, given: seen.update({layer: given[0]}))
        for layer in model.modules()
        if isinstance(layer, CKConv)
    ]
    try:
        with _in_evaluation(model):
            model(*([inputs] if isinstance(inputs, Tensor) else inputs))
    finally:
        for hook in hooks:
            hook.remove()
    return {layer: x if x.ndim > layer.dim + 1 else x[None] for layer, x in seen.items()}


def _frozen(name: str, layer: CKConv | NJet, x: Tensor | None) -> nn.Module:
    kind = type(layer)
    if kind.forward not in (CKConv.forward, SepFlexConv.forward, NJet.forward):
        raise UsageError(
            f"{_called(name)}: {kind.__name__} has a forward pass of its own, which no ordinary "
            "convolution can stand for; freeze its parts"
        )
    if isinstance(layer, NJet):
        kernel = layer.sample_kernel()
        conv = _conv(kernel, None, padding=tuple(n // 2 for n in kernel.shape[2:]))
        return conv
    if not layer.kernel_size:
        raise UsageError(
            f"{_called(name)}: its kernel's size is fixed by the first input, and there has been "
            "none; run the model once, or load a checkpoint, before you freeze it"
        )
    with _in_evaluation(layer):
        kernel = layer.sample_kernel()
    if x is not None and is_faster_spectral(layer, x, kernel):
        parts = [SpectralConv(layer, kernel, x)]
    else:
        parts = [*_padded_conv(layer, kernel.dense())]
    if isinstance(layer, SepFlexConv):
        parts.append(_conv(layer.channel_mixer.weight, layer.channel_mixer.bias))
    return parts[0] if len(parts) == 1 else nn.Sequential(*parts)


def _called(name: str) -> str:
    return f"model.{name}" if name else "model"


def _padded_conv(layer: CKConv, kernel: Tensor) -> Iterator[nn.Module]:
    """The convolution, after what pads its input where it cannot do that itself."""
    dim = layer.dim
    settings = {
        "stride": per_axis("stride", layer.stride, dim),
        "dilation": per_axis("dilation", layer.dilation, dim),
        "groups": layer.groups,
    }
    pad = _pads(layer, kernel.shape[2:])
    modes = per_axis("padding_mode", layer.padding_mode, dim)
    plain = all(mode == "zeros" for mode in modes)
    if plain and all(before == after >= 0 for before, after in pad):
        yield _conv(kernel, layer.bias, padding=tuple(before for before, _ in pad), **settings)
        return
    for axis, (mode, (before, after)) in enumerate(zip(modes, pad)):
        if mode != "zeros" and (before > 0 or after > 0):
            yield Extend(axis - dim, before, after, mode)
            pad[axis] = (0, 0)
    if any(side for axis in pad for side in axis):
        yield _PAD[dim]([side for axis in reversed(pad) for side in axis], 0.0)
    yield _conv(kernel, layer.bias, **settings)


def _pads(layer: CKConv, kernel_size: Sequence[int]) -> list[tuple[int, int]]:
    """Samples to add before and after each axis; numbers under zero: to take away."""
    dilation = per_axis("dilation", layer.dilation, layer.dim)
    pads = []
    for axis, given in enumerate(per_axis("padding", layer.padding, layer.dim)):
        is_time = axis == layer.causal_axis
        before, after = sides(given, dilation[axis] * (kernel_size[axis] - 1), is_time)
        if not isinstance(given, str):  # counted from the whole kernel
            lost = dilation[axis] * (layer.kernel_size[axis] - kernel_size[axis])
            first = lost if is_time else lost // 2
            before, after = before - first, after - (lost - first)
        pads.append((before, after))
    return pads


def _conv(kernel: Tensor, bias: Tensor | None, **settings: object) -> nn.Module:
    """An `nn.ConvNd` of the kernel (O, C / groups, *k)."""
    out, channels, *size = kernel.shape
    conv = _CONV[len(size)](
        channels * settings.get("groups", 1),
        out,
        size,
        bias=bias is not None,
        device="meta",
        **settings,
    )
    conv.weight = nn.Parameter(kernel.clone(memory_format=torch.contiguous_format))
    if bias is not None:
        conv.bias = nn.Parameter(bias.clone())
    return conv


@contextmanager
def _in_evaluation(layer: nn.Module) -> Iterator[None]:
    """Within the block, `layer` computes as in evaluation; whatever else hangs on it stays."""
    modes = {module: module.training for module in layer.modules()}
    try:
        for module in modes:
            module.training = False
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode


class Extend(nn.Module):
    """Pads one axis by what the input has there: `circular`, `reflect` or `replicate`.

    Other than PyTorch's own, by any number of samples, also more than the input has.
    """

    def __init__(self, axis: int, before: int, after: int, mode: str) -> None:
        super().__init__()
        self.axis, self.before, self.after, self.mode = axis, before, after, mode

    def forward(self, x: Tensor) -> Tensor:
        at = positions(x.shape[self.axis], self.before, self.after, self.mode)
        return x.index_select(self.axis, at.to(x.device))

    def extra_repr(self) -> str:
        return f"axis={self.axis}, before={self.before}, after={self.after}, mode={self.mode}"
