"""What the page shows of a network: its kernels as functions, sampled finely, as plain values."""

from __future__ import annotations

import base64
import copy
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ckconv.antialiasing.frequencies import bound, nyquist
from ckconv.errors import UsageError
from ckconv.nn.conv import CKConv
from ckconv.nn.kernels import with_centres
from ckconv.spectra import evaluate, measure_each

KERNELS = 12  # of a layer
POINTS = {1: 6000, 2: 20_000, 3: 20_000}  # positions at most of a kernel, of 3-D ones of a slice
FINER = (32, 16, 8, 4, 2, 1)  # positions from one sample to the next, the most that fit in
RATIOS = (0.25, 0.5, 1, 2, 4)  # resolutions, over that of training
SEEN = 3.5  # sigmas of a mask on each side that are shown
LEVELS = 120  # bins of a spectrum, up to the Nyquist frequency of the finest resolution
FLOOR_DB = -80.0
MEASURED = 400_000  # positions at which a spectrum is measured, at most


def network_data(network: nn.Module, title: str = "", kernels: int = KERNELS) -> dict[str, Any]:
    """The layers with continuous kernels of a network whose kernel sizes are known.

    Of each layer `kernels` kernels are kept, spread evenly over its channels. Raises `UsageError`
    where there is no such layer.
    """
    layers = {
        name: copy.deepcopy(module).cpu().float().eval()
        for name, module in network.named_modules()
        if isinstance(module, CKConv) and module.kernel_size
    }
    if not layers:
        raise UsageError(f"{title or 'the network'}: has no layers with continuous kernels")
    parameters = sum(p.numel() for p in network.parameters())
    found = [layer_data(name, layer, kernels) for name, layer in layers.items()]
    return {"title": title, "parameters": parameters, "floor": FLOOR_DB, "layers": found}


@torch.no_grad()
def layer_data(name: str, layer: CKConv, kernels: int) -> dict[str, Any]:
    """A layer's mask, resolutions and kernels; the kernels without the mask."""
    outputs, inputs = layer.kernel_channels
    chosen = torch.linspace(0, outputs * inputs - 1, min(kernels, outputs * inputs)).long().tolist()
    axes = shown_axes(layer)
    finest = 1.1 * max(RATIOS) * nyquist(layer.kernel_size)
    return {
        "name": name or "layer",
        "generator": type(layer.generator).__name__,
        "channels": [outputs, inputs],
        "size": list(layer.kernel_size),
        "used": list(layer.cropped_size()),
        "causal": layer.causal_axis,
        "axes": [{"first": a[0].item(), "last": a[-1].item(), "count": len(a)} for a in axes],
        "mask": _mask_data(layer, axes),
        "resolutions": [_resolution(layer, ratio) for ratio in RATIOS],
        "nyquist": nyquist(layer.kernel_size),
        "bound": _bound(layer),
        "kernels": [
            {"of": list(divmod(index, inputs)), **_packed(values), "spectrum": spectrum}
            for index, values, spectrum in zip(
                chosen, _functions(layer, axes, chosen), _spectra(layer, chosen, finest)
            )
        ],
        "spectrumEnd": finest,
    }


def shown_axes(layer: CKConv) -> list[Tensor]:
    """Fine positions on [-1, 1] per axis, as far as the mask is seen; of volumes two axes.

    The samples at the resolution of training are among them, and as far as it goes those of the
    finer resolutions.
    """
    size, crop = layer.kernel_size[-2:], layer.crop()[-2:]
    for finer in FINER:
        axes = [
            _axis(n, finer, *_reach(layer, layer.dim - len(size) + d, crop[d]))
            for d, n in enumerate(size)
        ]
        points = torch.tensor([len(axis) for axis in axes]).prod().item()
        if points <= POINTS[layer.dim]:
            break
    return axes


def _axis(n: int, finer: int, low: float, high: float) -> Tensor:
    """The positions from low to high of those that n samples have with `finer` times as many."""
    line = torch.linspace(-1, 1, max(n - 1, 2) * finer + 1)
    step = line[1] - line[0]
    return line[(line >= low - step) & (line <= high + step)]


def _reach(layer: CKConv, axis: int, crop: tuple[int, int]) -> tuple[float, float]:
    """From where to where a kernel is shown along an axis: what is used, and the mask around it."""
    n = layer.kernel_size[axis]
    if layer.mask is None or n == 1:
        return -1.0, 1.0
    middle, sigma = layer.mask.mean[axis].item(), layer.mask.effective_sigma[axis].item()
    used = [-1 + 2 * index / (n - 1) for index in (crop[0], crop[1] - 1)]
    low, high = middle - SEEN * sigma, middle + SEEN * sigma
    return max(min(low, used[0]), -1.0), min(max(high, used[1]), 1.0)


def _functions(layer: CKConv, axes: Sequence[Tensor], chosen: Sequence[int]) -> Tensor:
    """The functions behind the kernels, without their mask, (kernels, *size); a slice of 3-D."""
    middle = [torch.zeros(1)] if layer.dim == 3 else []
    values = evaluate(layer.generator, [*middle, *axes], chosen) * layer.sampling_rate_norm
    return values.squeeze(1) if middle else values


def _mask_data(layer: CKConv, axes: Sequence[Tensor]) -> dict[str, Any] | None:
    """The mask's numbers and its values along each of the shown axes, through its middle."""
    mask = layer.mask
    if mask is None:
        return None
    mean, sigma = mask.mean.tolist(), mask.effective_sigma.tolist()
    skipped = layer.dim - len(axes)
    profiles = [
        mask.profile((axis - mean[d]) / sigma[d]) for d, axis in enumerate(axes, start=skipped)
    ]
    slice_factor = 1.0
    if skipped:
        slice_factor = mask.profile(torch.tensor(-mean[0] / sigma[0])).item()
    return {
        "type": type(mask).__name__,
        "mean": mean,
        "sigma": sigma,
        "threshold": mask.threshold if mask.dynamic_cropping else None,
        "slice": slice_factor,
        "profiles": [_packed(profile) for profile in profiles],
    }


def _resolution(layer: CKConv, ratio: float) -> dict[str, Any]:
    """How many samples the kernel has at so many times the resolution, and which are used."""
    sizes = [max(int((n - 1) * ratio + 1e-6) + 1, 1) for n in layer.kernel_size]
    size = with_centres(sizes, layer.causal_axis)
    crop = [(0, n) for n in size] if layer.mask is None else layer.mask.crop(size)
    return {"ratio": ratio, "size": list(size), "crop": [list(ends) for ends in crop]}


def _bound(layer: CKConv) -> float | None:
    try:
        return bound(layer).item()
    except UsageError:
        return None


def _spectra(layer: CKConv, chosen: Sequence[int], end: float) -> list[dict[str, Any]]:
    """Each kernel's spectrum in dB under its highest level, and what lies over each Nyquist."""
    size = max(layer.kernel_size)
    finest = next(n for n in (16, 8, 4, 2, 1) if n == 1 or _positions(size, n, layer) <= MEASURED)
    found = []
    for spectrum in measure_each(layer, size, finest, kernels=chosen):
        edges, level = spectrum.levels(end, LEVELS)
        above = [spectrum.above(nyquist(_resolution(layer, r)["size"])) for r in RATIOS]
        step = edges[1].item() if len(edges) > 1 else end
        found.append({"step": step, "above": above, **_packed(level.float().clamp(min=FLOOR_DB))})
    return found


def _positions(size: int, oversample: int, layer: CKConv) -> float:
    return (2.5 * size * oversample) ** layer.dim


def _packed(values: Tensor) -> dict[str, Any]:
    """Values as whole numbers of 16 bits, in base64, and the scale that they are multiplied by."""
    scale = values.abs().max().clamp(min=1e-30).item() / 32767
    whole = (values / scale).round().to(torch.int16)
    return {"scale": scale, "values": base64.b64encode(_bytes(whole)).decode()}


def _bytes(whole: Tensor) -> bytes:
    """The little-endian bytes of 16-bit numbers, whatever the machine's order."""
    numbers = whole.flatten().to(torch.int32) & 0xFFFF
    return bytes(torch.stack((numbers & 0xFF, numbers >> 8), 1).to(torch.uint8).flatten().tolist())


def described(config: Mapping[str, Any], task: Mapping[str, Any]) -> str:
    """A network's name, as `FlexNet on CIFAR10`."""
    return f"{config['net']['type']} on {task['name']}"
