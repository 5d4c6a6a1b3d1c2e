"""How layers are made and called, said in a sentence where it was meant for another one."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import is_dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ckconv.config import ConvConfig, KernelConfig, MaskConfig
from ckconv.errors import UsageError, check_count
from ckconv.functional import check_input
from ckconv.functional.geometry import per_axis, sides
from ckconv.nn.ck import GENERATORS, Generator
from ckconv.nn.mask import MASKS, Mask
from ckconv.nn.parts import Settings

if TYPE_CHECKING:
    from ckconv.nn.conv import CKConv

SIZES = {1: "L", 2: "H, W", 3: "D, H, W"}
_EXPORT = (
    "{} samples its kernel in every forward pass, which no exported graph can; export "
    "ckconv.freeze(model), a copy with ordinary convolutions"
)
_PARTS = {  # what a layer is made of: settings, and a base of classes and instances
    "kernel": ((KernelConfig, Settings), Generator),
    "conv": ((ConvConfig,), None),
    "mask": ((MaskConfig,), Mask),
}


def check_call(
    layer: CKConv, dim: object, parts: Sequence[object], others: Mapping[str, object]
) -> None:
    """Raise `UsageError` for arguments that belong to another way to make a layer.

    `FlexConv` takes a number of axes and settings, its `parts`; `FlexConv2d` takes what
    `nn.Conv2d` does; the published code takes the settings right after the channels.
    """
    is_dim = isinstance(dim, int) and not isinstance(dim, bool) and dim in SIZES
    given = dict(zip(_PARTS, parts)).items()
    others = {name: part for name, part in given if not _is_part(name, part)} | dict(others)
    if is_dim and not others:
        return
    wrong = [] if is_dim else [f"dim={_shown(dim)}"]
    wrong += [f"{name}={_shown(value)}" for name, value in others.items()]
    name = type(layer).__name__
    raise UsageError(
        f"{', '.join(wrong)}: write {name}(in_channels, out_channels, dim, KernelConfig(), "
        "ConvConfig(), MaskConfig()) with a dim of 1, 2 or 3; or, with the arguments of nn.Conv2d, "
        f"{name}2d(in_channels, out_channels, kernel_size), as {name}2d(3, 24, 33)"
    )


def check_nd_call(
    layer: CKConv,
    given: Mapping[str, object],
    parts: tuple[object, object],
    others: Mapping[str, object],
) -> None:
    """The same for `FlexConv2d`, where somebody may think of `FlexConv`.

    `parts` are its generator and its mask.
    """
    _check_nd_parts(*parts)
    misplaced = {k: v for k, v in given.items() if isinstance(v, KernelConfig | ConvConfig)}
    if misplaced or others:
        wrong = ", ".join(f"{k}={_shown(v)}" for k, v in (misplaced | dict(others)).items())
        name = type(layer).__name__
        raise UsageError(
            f"{wrong}: write {name}(in_channels, out_channels, kernel_size), with the arguments of "
            f"nn.Conv{layer.dimensions}d and generator=, sigma=, mask=; or, from settings, "
            f"{name[:-2]}(in_channels, out_channels, {layer.dimensions}, KernelConfig(), "
            "ConvConfig())"
        )


def _check_nd_parts(generator: object, mask: object) -> None:
    """Raise `UsageError` for what is no generator or mask in any of its forms."""
    if not isinstance(generator, str) and not _is_part("kernel", generator):
        raise UsageError(
            f"generator={_shown(generator)}: give one of {', '.join(GENERATORS)}, a KernelConfig, "
            "a class of ckconv.nn.ck or an instance"
        )
    if not isinstance(mask, str) and not _is_part("mask", mask):
        raise UsageError(
            f"mask={_shown(mask)}: give one of {', '.join(MASKS)}, a MaskConfig, a class of masks "
            "or an instance, or None for none"
        )


def _is_part(name: str, part: object) -> bool:
    """Whether a layer can be made of it: nothing, settings, a class or an instance."""
    settings, base = _PARTS[name]
    if part is None or isinstance(part, settings):
        return True
    if isinstance(part, type):
        return base is not None and issubclass(part, base) and part is not base
    is_loose = hasattr(part, "keys") and not isinstance(part, dict)  # as OmegaConf's settings
    return is_loose or (base is not None and isinstance(part, base))


def _shown(value: object) -> str:
    return f"{type(value).__name__}(...)" if is_dataclass(value) else str(value)


def check_channels(in_channels: int, out_channels: int, groups: int) -> None:
    """Raise `UsageError` for what is no number of channels, and groups that do not divide them."""
    check_count("in_channels", in_channels)
    check_count("out_channels", out_channels)
    if in_channels % groups or out_channels % groups:
        raise UsageError(
            f"conv.groups={groups}: does not divide in_channels={in_channels} and "
            f"out_channels={out_channels}; give a number that divides both"
        )


def groups_of(layer: CKConv, given: int, in_channels: int) -> int:
    """The groups of a layer's channels; `UsageError` where they are not its to choose."""
    if not layer.is_depthwise:
        return given
    if given not in (1, in_channels):
        name = type(layer).__name__
        raise UsageError(
            f"conv.groups={given}: {name} is depthwise, every channel is a group; leave it out, or "
            f"take {name.removeprefix('Sep')}"
        )
    return in_channels


def check_dtype(dtype: torch.dtype | None) -> None:
    """Raise `UsageError` for what parameters of real numbers cannot have."""
    if dtype is not None and not getattr(dtype, "is_floating_point", False):
        raise UsageError(
            f"dtype={dtype}: give a real floating-point one, as torch.float32; inputs may be "
            "complex all the same"
        )


def check_axes(layer: CKConv) -> None:
    """Raise `UsageError` for settings per axis that the first input would fail by."""
    for name in ("stride", "dilation", "padding_mode"):
        per_axis(name, getattr(layer, name), layer.dim)
    for axis, given in enumerate(per_axis("padding", layer.padding, layer.dim)):
        sides(given, 0, axis == layer.causal_axis)


def ratios(ratio: float | Sequence[float], dim: int) -> list[float]:
    """A ratio of resolutions per axis; raises `UsageError` for what is none."""
    given = list(ratio) if isinstance(ratio, list | tuple) else [ratio] * dim
    for one in given:
        is_number = isinstance(one, int | float) and not isinstance(one, bool)
        if len(given) != dim or not is_number or not 0 < one < math.inf:
            raise UsageError(
                f"ratio={ratio}: give a positive number, new / present resolution, or one for each "
                f"of the {dim} axes"
            )
    return [float(one) for one in given]


def refuse_export(layer: CKConv) -> None:
    """Raise where a graph of the layer is being made that shall run without it.

    Its kernel's size follows from its weights, which no exported graph knows.
    """
    # not `torch.compiler.is_exporting()`, which is also true where code is compiled
    is_exporting = getattr(torch.compiler, "_is_exporting_flag", False)
    is_traced = not torch.compiler.is_compiling() and torch.jit.is_tracing()
    if is_exporting or is_traced or torch.onnx.is_in_onnx_export():
        raise UsageError(_EXPORT.format(type(layer).__name__))


def refuse_script(layer: CKConv) -> None:
    """What `torch.jit.script` asks for first; raises like `refuse_export`."""
    raise UsageError(_EXPORT.format(type(layer).__name__))


def check_input_shape(layer: CKConv, x: Tensor) -> None:
    """Raise for what is not (B, C, *size), or without B, with the layer's channels."""
    refuse_export(layer)
    check_input(x)
    dim = layer.dim
    if x.ndim in (dim + 1, dim + 2) and x.shape[-dim - 1] == layer.in_channels:
        return
    sentence = (
        f"input has shape {tuple(x.shape)}; this layer takes (B, {layer.in_channels}, {SIZES[dim]})"
    )
    axes = x.ndim - 2
    if axes in SIZES and axes != dim:
        made = f"{type(layer).__name__.rstrip('123d')}{axes}d({layer.in_channels}, "
        sentence += f"; for {axes} axes make a {made}{layer.out_channels}, kernel_size)"
    raise ValueError(sentence)


def describe(layer: CKConv) -> str:
    """The arguments that a layer was made with, in a line; those of an ordinary one left out."""
    usual = {"stride": 1, "padding": "same", "dilation": 1, "groups": 1, "padding_mode": "zeros"}
    given = {name: getattr(layer, name) for name in ("dim", "horizon")}
    given |= {"kernel_size": layer.kernel_size} if layer.kernel_size else {}
    given |= {k: getattr(layer, k) for k, v in usual.items() if getattr(layer, k) != v}
    told = ", ".join(f"{name}={value}" for name, value in given.items())
    return f"{layer.in_channels}, {layer.out_channels}, {told}"


def is_cropped(layer: CKConv) -> bool:
    """Whether the layer's mask crops its kernel."""
    return layer.mask is not None and layer.mask.dynamic_cropping


def is_plainly_causal(layer: CKConv) -> bool:
    """Whether each output of a 1-D layer is one mix of the inputs up to it, and nothing else."""
    plain = layer.groups == 1, layer.stride == 1, layer.dilation == 1, layer.padding == "same"
    return layer.causal_axis == 0 and layer.padding_mode == "zeros" and all(plain)
