"""The kernels of a whole network: sampled all at once, kept for an evaluation, or collected.

A network's generators are alike and tiny: run one by one they are thousands of small launches and,
where masks crop, one wait for the device per layer. Run together they are the launches of one
layer, and all masks are read back at once. On a CPU, where it gains one per cent, it is left out.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from ckconv.functional import FactoredKernel, full_precision
from ckconv.functional.compiling import not_compiled
from ckconv.nn.ck import Generator
from ckconv.nn.conv import CKConv
from ckconv.nn.njet import NJet
from ckconv.nn.sections import section


class _Hidden(nn.Module):
    """A generator up to its hidden functions, in the form that `functional_call` takes."""

    def __init__(self, generator: Generator) -> None:
        super().__init__()
        self.generator = generator

    def forward(self, positions: Tensor) -> Tensor:
        return self.generator.hidden(positions)


@not_compiled
def sample_together(layers: Sequence[CKConv]) -> None:
    """Sample the kernels that the next forward pass of each of `layers` will use.

    Layers whose kernel's size is not known yet, and generators that are unlike all others, are
    left to sample their own. The kernels are the same as those the layers would sample.
    """
    with section("generation"):
        _sample([layer for layer in layers if layer.kernel_size])


def _sample(layers: Sequence[CKConv]) -> None:
    with section("masking"):
        crops = _read_crops(layers)
    groups: dict[tuple, list[CKConv]] = defaultdict(list)
    for layer in layers:
        if layer.generator.sampled_together:
            groups[layer.generator.kind()].append(layer)
    for group in groups.values():
        if len(group) > 1:
            _sample_group(group, [crops[layer] for layer in group])


def _read_crops(layers: Sequence[CKConv]) -> dict[CKConv, tuple[tuple[int, int], ...]]:
    """Every layer's crop, from one transfer of all masks' means and sigmas."""
    masked = [x for x in layers if x.mask is not None and x.mask.dynamic_cropping]
    crops = {layer: tuple((0, n) for n in layer.kernel_size) for layer in layers}
    if masked:
        with torch.no_grad():
            values = torch.stack([x.mask.mean_and_sigma for x in masked]).tolist()
        for layer, (mean, sigma) in zip(masked, values):
            crops[layer] = layer.mask.ranges(layer.kernel_size, mean, sigma)
    return crops


def _sample_group(layers: list[CKConv], crops: list[tuple[tuple[int, int], ...]]) -> None:
    """Evaluate alike generators, each at its own positions, padded to the same number."""
    grids = [layer.grid_of(crop) for layer, crop in zip(layers, crops)]
    points = [torch.stack(torch.meshgrid(*g.axes, indexing="ij")).flatten(1) for g in grids]
    longest = max(at.shape[1] for at in points)
    positions = torch.stack(
        [nn.functional.pad(at, (0, longest - at.shape[1])) for at in points]
    )  # (G, dim, N)
    hidden = _evaluate([layer.generator for layer in layers], positions)  # (G, H, N)
    for layer, line, at, grid in zip(layers, hidden, points, grids):
        layer.prepare(line[:, : at.shape[1]], grid)


def _evaluate(generators: list[Generator], positions: Tensor) -> Tensor:
    """Hidden functions (G, H, N) of G alike generators at positions (G, dim, N)."""
    named = [dict(g.named_parameters()) | dict(g.named_buffers()) for g in generators]
    names = [name for name in named[0] if not name.startswith("output.")]
    template = _Hidden(generators[0])

    def one(parameters: dict[str, Tensor], at: Tensor) -> Tensor:
        return torch.func.functional_call(template, parameters, (at,))

    with full_precision(positions.device):
        stacked = {f"generator.{n}": torch.stack([tensors[n] for tensors in named]) for n in names}
        return torch.vmap(one)(stacked, positions)


@contextmanager
def kept_kernels(model: nn.Module) -> Iterator[None]:
    """Within the block, layers in evaluation mode without gradients sample each kernel once.

    A kernel is sampled anew where anything that it is made of has changed, however that was done.
    Blocks may lie in each other and run in several threads; the kernels go with the last of them.
    """
    layers = [module for module in model.modules() if isinstance(module, CKConv)]
    held: list[CKConv] = []
    try:
        for layer in layers:
            layer.in_use.hold()
            held.append(layer)
        yield
    finally:
        for layer in held:
            layer.in_use.release(forget=not layer.cache)


def keep_kernels(model: nn.Module, keep: bool) -> None:
    """Set what `conv.cache` says: whether kernels are kept from `eval()` to `train()`."""
    for module in model.modules():
        if isinstance(module, CKConv):
            module.cache = keep


@contextmanager
def recorded_kernels(model: nn.Module) -> Iterator[dict[nn.Module, FactoredKernel | Tensor]]:
    """The kernels, by layer, of the forward pass in the block: there when the block has ended.

    They have the gradients of that pass, which is where penalties on kernels take them from:

        with recorded_kernels(model) as kernels:
            output = model(x)
        loss = criterion(output, target) + penalties.kernel_norm(model, kernels)

    Of several passes the last one's are given, of those of other threads none; layers that took
    no part are left out.
    """
    layers = [module for module in model.modules() if isinstance(module, CKConv | NJet)]
    before = [layer.in_use.last for layer in layers]
    for layer in layers:
        layer.in_use.last = None
    kernels: dict[nn.Module, FactoredKernel | Tensor] = {}
    try:
        yield kernels
    finally:
        for layer, earlier in zip(layers, before):
            if layer.in_use.last is None:
                layer.in_use.last = earlier
            else:
                kernels[layer] = layer.in_use.last
