"""Read checkpoints with the parameter names of the published FlexConv and CKConv code.

The published names are translated here and nowhere else. Two generations of them are understood:
FlexConv's, and the older CKConv's, which count the generator's layers differently and store
neither the kernel's length nor omega_0.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ckconv.checkpoint import is_ours
from ckconv.errors import UsageError
from ckconv.nn.ck import SIREN
from ckconv.nn.conv import CKConv

# Applied in order to every name, outermost module first.
_RENAME = (
    (r"^cconv1\.", "stem."),
    (r"^norm1\.", "stem_norm."),
    (r"^out_layer\.|^finallyr\.", "head."),
    (r"^backbone\.", "blocks."),
    (r"\.cconv([12])\.", r".conv\1."),
    (r"\.shortcut\.0\.", ".shortcut."),
    (r"norm([12]?)\.layer_norm\.", r"norm\1."),
    (r"(^|\.)Kernel\.", r"\1generator."),
    (r"(^|\.)linear\.(\d+)\.", r"\1linears.\2."),
    (r"(^|\.)output_linear\.", r"\1output."),
)
_PUBLISHED = re.compile(
    r"(^|\.)(Kernel|cconv[12]|out_layer|finallyr|kernel_net|output_linear|mask_params|mask_width_param|train_length)(\.|$)"
)
_KERNEL_NET = re.compile(r"^(?P<owner>.*?)kernel_net\.(?P<index>\d+)\.(?P<rest>.+)$")
# What else was stored as buffers: settings, the kernel sampled last, whether there was one.
_NO_WEIGHTS = ("temperature", "mask_threshold", "conv_kernel", "initialized")
# Where programs keep the weights in a checkpoint, and what they put before their names.
_WEIGHTS = ("model", "state_dict", "model_state_dict", "net", "network", "weights", "params")
_WRAPPERS = re.compile(r"^((module|model|_orig_mod)\.)+|(?<=\.)_orig_mod\.")
_MASKS = {"mask_width_param": "mask.sigma", "mask_mean_param": "mask.mean"}


def is_published(state: Mapping[str, Tensor]) -> bool:
    """Whether the names in `state` are the published code's rather than this library's."""
    return any(_PUBLISHED.search(name) for name in state)


def unwrap(content: Mapping[str, Any]) -> dict[str, Tensor]:
    """The parameters in a checkpoint's content, by the names they have in the network itself.

    They may lie under a usual name, as `model` or `state_dict`, and have the prefixes of
    DataParallel, `torch.compile`, weight averaging and training frameworks: `module.`,
    `_orig_mod.`, `model.`. How many weights were averaged, `n_averaged`, is left out.
    """
    inner = [content[key] for key in _WEIGHTS if isinstance(content.get(key), Mapping)]
    if inner:
        return unwrap(inner[0])
    return {
        _WRAPPERS.sub("", str(name)): value
        for name, value in content.items()
        if str(name).rpartition(".")[2] != "n_averaged"
    }


def load_state_dict(module: nn.Module, state: Mapping[str, Tensor], strict: bool = True) -> None:
    """Load a published state dict into a generator, a layer or a network of this library.

    Args:
        module: what to load into; its shapes decide what fits.
        state: parameter names as published; `unwrap` is applied to it.
        strict: demand that every parameter is in `state` and the other way round. The kernel's
            length and resolution and a fixed omega_0, which older checkpoints lack, may always be
            missing.

    Raises:
        UsageError: where the two do not fit, naming the first parameters that differ, and for a
            checkpoint of this library, which `ckconv.load` reads.
    """
    if is_ours(state):
        raise UsageError(
            "the checkpoint is of this library, not a published one: ckconv.load(path) makes the "
            "network it is of, and state['model'] holds its weights"
        )
    state = unwrap(state)
    translated = translate(module, state)
    problems = _problems(module, translated, strict)
    if problems:
        more = f" and {len(problems) - 3} more" if len(problems) > 3 else ""
        raise UsageError(
            f"the checkpoint does not fit the model: {'; '.join(sorted(problems)[:3])}{more}; "
            "give the flags it was trained with"
        )
    module.load_state_dict(translated, strict=False)
    _load_thresholds(module, state)


def _problems(module: nn.Module, translated: Mapping[str, Tensor], strict: bool) -> list[str]:
    """In what a translated state dict does not fit, a text each."""
    own = module.state_dict()
    later = ("extent", "resolution", "omega_0", "num_batches_tracked")
    optional = {name for name in own if name.endswith(later)}
    optional -= {name for name, _ in module.named_parameters()}
    problems = [
        f"{name} has shape {tuple(value.shape)}, not {tuple(own[name].shape)}"
        for name, value in translated.items()
        if name in own and value.shape != own[name].shape
    ]
    if strict:
        problems += [f"{name} is missing" for name in own.keys() - translated.keys() - optional]
        problems += [f"{name} is unknown" for name in translated.keys() - own.keys()]
    return problems


def translate(module: nn.Module, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """`state` under this library's names and in its shapes, as `module` expects them.

    Works on anything laid out like a state dict, gradients among them.
    """
    own = module.state_dict()
    translated: dict[str, Tensor] = {}
    for name, value in _translate_kernel_nets(module, state).items():
        value = torch.as_tensor(value)
        owner, _, leaf = name.rpartition(".")
        prefix = owner + "." if owner else ""
        if leaf in _NO_WEIGHTS:
            continue
        if leaf == "mask_params":
            translated[prefix + "mask.mean"] = value[:, 0]
            translated[prefix + "mask.sigma"] = value[:, 1]
        elif leaf in _MASKS:
            translated[prefix + _MASKS[leaf]] = value
        elif leaf == "train_length":
            target = own.get(prefix + "extent", value)
            translated[prefix + "extent"] = value.long().expand(target.shape)
        else:
            translated[name] = _fit_shape(value, own.get(name))
    return translated


def _rename(name: str) -> str:
    for pattern, replacement in _RENAME:
        name = re.sub(pattern, replacement, name)
    return name


def _translate_kernel_nets(module: nn.Module, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename everything; count the linear layers of MLPs and SIRENs in order."""
    linears: dict[str, set[int]] = {}
    for name, value in state.items():
        match = _KERNEL_NET.match(name)
        if match and value.ndim > 1:
            linears.setdefault(match["owner"], set()).add(int(match["index"]))
    renamed = {}
    for name, value in state.items():
        match = _KERNEL_NET.match(name)
        if not match:
            renamed[_rename(name)] = value
            continue
        owner = _rename(match["owner"])
        order = sorted(linears.get(match["owner"], ()))
        level = sum(index <= int(match["index"]) for index in order) - 1
        is_siren = isinstance(_find(module, owner), SIREN)
        is_linear = int(match["index"]) in order
        rest = match["rest"].removeprefix("layer_norm.")
        if not is_linear:
            renamed[f"{owner}norms.{level}.norm.{rest}"] = value
        elif level == len(order) - 1:
            renamed[f"{owner}output.{rest}"] = value
        elif is_siren:
            middle = "" if rest == "omega_0" else "linear."
            renamed[f"{owner}layers.{level}.{middle}{rest}"] = value
        else:
            renamed[f"{owner}linears.{level}.{rest}"] = value
    return renamed


def _find(module: nn.Module, path: str) -> nn.Module | None:
    try:
        return module.get_submodule(path.rstrip("."))
    except AttributeError:
        return None


def _fit_shape(value: Tensor, target: Tensor | None) -> Tensor:
    """Drop the axes of length one of what was a 1x1 convolution."""
    if target is None or value.shape == target.shape:
        return value
    trimmed = value.reshape(value.shape[: target.ndim]) if _ends_in_ones(value, target) else value
    return trimmed


def _ends_in_ones(value: Tensor, target: Tensor) -> bool:
    return value.ndim > target.ndim and all(n == 1 for n in value.shape[target.ndim :])


def _load_thresholds(module: nn.Module, state: Mapping[str, Tensor]) -> None:
    """The published code keeps the cropping threshold with the weights."""
    renamed = {_rename(name): value for name, value in state.items()}
    for name, layer in module.named_modules():
        threshold = renamed.get(f"{name}.mask_threshold" if name else "mask_threshold")
        if threshold is not None and isinstance(layer, CKConv) and layer.mask is not None:
            layer.mask.threshold = round(float(threshold), 6)
