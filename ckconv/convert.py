"""Continuous kernels in the place of somebody's ordinary convolutions."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatchcase

from torch import nn
from torch.nn.modules.lazy import LazyModuleMixin
from torch.nn.parameter import is_lazy

from ckconv import nn as layers
from ckconv.config import parse_horizon
from ckconv.errors import UsageError
from ckconv.functional.geometry import per_axis
from ckconv.nn import CKConv, FlexConv, SepFlexConv

_CONV = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_KINDS: dict[type[CKConv], dict[int, type[CKConv]]] = {
    CKConv: {1: layers.CKConv1d, 2: layers.CKConv2d, 3: layers.CKConv3d},
    FlexConv: {1: layers.FlexConv1d, 2: layers.FlexConv2d, 3: layers.FlexConv3d},
    SepFlexConv: {1: layers.SepFlexConv1d, 2: layers.SepFlexConv2d, 3: layers.SepFlexConv3d},
}

Only = str | Sequence[str] | Callable[[str, nn.Module], bool]


def convert(
    model: nn.Module,
    like: type[CKConv] = FlexConv,
    only: Only | None = None,
    say: Callable[[str], None] | None = print,
    **settings: object,
) -> nn.Module:
    """A copy of `model` whose convolutions have continuous kernels, to be trained.

    Every `nn.Conv1d`, `nn.Conv2d` and `nn.Conv3d` with an odd kernel of more than one sample is
    replaced, none that is transposed or has a forward pass of its own; stride, groups, dilation,
    padding and its mode, bias, dtype and device stay, and so do the outputs' sizes. The new kernels
    start as those of any new layer; all else keeps its weights. The model itself is not changed.

        model = ckconv.convert(torchvision.models.resnet18(), like=SepFlexConv, only="layer?.*")

    Args:
        model: any network.
        like: what they become: `FlexConv`, `CKConv`, or `SepFlexConv`, which keeps the number of
            parameters small: dense convolutions become depthwise ones and 1x1s. Convolutions that
            have groups already become a FlexConv of those groups.
        only: names of layers, with * for any part of one, or a function of name and layer.
        say: is given what was replaced, and the parameters before and after, as text.
        settings: what `FlexConv2d` takes beside `nn.Conv2d`'s own: `kernel_size`, the horizon,
            33 if it is not given; `generator`, `sigma`, `mask`, `causal`, ...

    Raises:
        UsageError: where nothing is to be replaced, or a layer of `only` cannot be.
    """
    if like not in _KINDS:
        kinds = ", ".join(kind.__name__ for kind in _KINDS)
        raise UsageError(f"like={getattr(like, '__name__', like)}: choose one of {kinds}")
    settings = {"kernel_size": 33, **settings}
    convs = (pair for pair in model.named_modules() if isinstance(pair[1], _CONV + _TRANSPOSED))
    found = {name: conv for name, conv in convs if _is_meant(name, conv, only)}
    new, kept = _replacements(model, found, like, only, settings)
    converted = copy.deepcopy(model, {id(found[name]): layer for name, layer in new.items()})
    if say is not None:
        say(_report(model, converted, found, new, kept))
    return converted


def _replacements(
    model: nn.Module,
    found: Mapping[str, nn.Module],
    like: type[CKConv],
    only: Only | None,
    settings: Mapping[str, object],
) -> tuple[dict[str, CKConv], dict[str, str]]:
    """The new layers by name, and why the others that were found stay."""
    new: dict[str, CKConv] = {}
    kept: dict[str, str] = {}
    for name, conv in found.items():
        reason = _why_not(conv, settings["kernel_size"])
        if reason is None:
            new[name] = _layer(conv, like, settings)
        elif only is None or callable(only) or "*" in str(only):
            kept[name] = reason
        else:
            raise UsageError(f"only={only}: {name} has {reason}")
    if not new:
        raise UsageError(_nothing(model, only, kept))
    return new, kept


def _is_meant(name: str, conv: nn.Module, only: Only | None) -> bool:
    if only is None:
        return True
    if callable(only):
        return only(name, conv)
    return any(fnmatchcase(name, one) for one in ([only] if isinstance(only, str) else only))


def _why_not(conv: nn.Module, horizon: object) -> str | None:
    """Why a convolution stays as it is, None where it need not."""
    size = _times(conv.kernel_size)
    if isinstance(conv, _TRANSPOSED):
        return f"a transposed {size} kernel"
    base = _CONV[len(conv.kernel_size) - 1]
    if (type(conv).forward, type(conv)._conv_forward) != (base.forward, base._conv_forward):
        return f"a forward pass of {type(conv).__name__}'s own"
    if isinstance(conv, LazyModuleMixin):
        return "no number of channels before the first input"
    if math.prod(conv.kernel_size) == 1:
        return f"a {size} kernel, which has no extent"
    if any(k % 2 == 0 for k in conv.kernel_size):
        return f"a {size} kernel, which has no centre"
    padding = _padding(conv, _sizes(conv, horizon))
    if padding is None:
        return f"padding={conv.padding}, which takes a number as kernel_size, not {horizon}"
    if padding != "same" and min(padding) < 0:
        return f"a {size} kernel, which is larger than kernel_size={horizon}"
    return None


def _layer(conv: nn.Module, like: type[CKConv], settings: Mapping[str, object]) -> CKConv:
    """The new layer in the place of `conv`."""
    kinds = _KINDS[FlexConv if like is SepFlexConv and conv.groups > 1 else like]
    own = {
        "stride": conv.stride,
        "padding": _padding(conv, _sizes(conv, settings["kernel_size"])),
        "dilation": conv.dilation,
        "bias": conv.bias is not None,
        "padding_mode": conv.padding_mode,
        "device": conv.weight.device,
        "dtype": conv.weight.dtype,
        "causal": False,
    }
    if like is not SepFlexConv or conv.groups > 1:
        own["groups"] = conv.groups
    made = kinds[len(conv.kernel_size)](conv.in_channels, conv.out_channels, **(own | settings))
    return made.train(conv.training)


def _sizes(conv: nn.Module, horizon: object) -> tuple[int, ...] | None:
    """The horizon in samples per axis; None for the words `same` and `full`."""
    horizon = parse_horizon(horizon)
    if isinstance(horizon, str):
        return None
    return per_axis("kernel_size", horizon, len(conv.kernel_size))


def _padding(conv: nn.Module, sizes: Sequence[int] | None) -> str | tuple[int, ...] | None:
    """The padding with which a kernel of `sizes` gives as many outputs, at the same places.

    None where that needs the sizes and they are not known.
    """
    if conv.padding == "same":
        return "same"
    given = (0,) * len(conv.kernel_size) if conv.padding == "valid" else conv.padding
    spans = [d * (k - 1) for k, d in zip(conv.kernel_size, conv.dilation)]
    if all(2 * p == span for p, span in zip(given, spans)):
        return "same"
    if sizes is None:
        return None
    return tuple(
        p + (d * (n - 1) - span) // 2 for p, d, n, span in zip(given, conv.dilation, sizes, spans)
    )


def _nothing(model: nn.Module, only: Only | None, kept: Mapping[str, str]) -> str:
    if kept:
        name, reason = next(iter(kept.items()))
        return f"no convolution is to be replaced: {name} has {reason}"
    names = [name for name, module in model.named_modules() if isinstance(module, _CONV)]
    if not names:
        return f"{type(model).__name__} has no nn.Conv1d, nn.Conv2d or nn.Conv3d to replace"
    told = ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
    return f"only={only}: no convolution is called so; there are {told}"


def _report(
    before: nn.Module,
    after: nn.Module,
    found: Mapping[str, nn.Module],
    new: Mapping[str, CKConv],
    kept: Mapping[str, str],
) -> str:
    """What was replaced, a line each, and what it did to the number of parameters."""
    width = max(map(len, [*found, "parameters"]))
    lines = []
    for name, conv in found.items():
        if name in kept:
            lines.append(f"{name:{width}}  kept: {kept[name]}")
            continue
        layer = new[name]
        lines.append(
            f"{name:{width}}  {type(conv).__name__}, {_times(conv.kernel_size)} -> "
            f"{type(layer).__name__}({conv.in_channels}, {conv.out_channels}, {layer.horizon})  "
            f"{_count(conv)} -> {_count(layer)}"
        )
    lines.append(f"{'parameters':{width}}  {_count(before)} -> {_count(after)}")
    return "\n".join(lines)


def _times(size: Sequence[int]) -> str:
    return "x".join(map(str, size))


def _count(module: nn.Module) -> str:
    return f"{sum(p.numel() for p in module.parameters() if not is_lazy(p)):,}"
