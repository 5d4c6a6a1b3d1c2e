"""The kernel a layer has in use: of its last forward pass, for its next one, or kept for many."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from threading import Lock, local
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ckconv.functional import FactoredKernel, full_precision
from ckconv.functional.compiling import not_compiled
from ckconv.nn.mapped import only_row

if TYPE_CHECKING:
    from ckconv.nn.conv import CKConv

_COUNTING = Lock()


@dataclass(frozen=True)
class Grid:
    """Where a kernel is sampled: positions per axis.

    alone: the axes that are cropped to a single sample, and their step. Where the mask is learned
    the sample's neighbours are there too.
    """

    axes: list[Tensor]
    alone: Mapping[int, float] = field(default_factory=dict)


class _OfThread(local):
    """The kernels of one thread's forward passes: another thread's have a graph of their own."""

    last: FactoredKernel | Tensor | None = None
    prepared: FactoredKernel | None = None


class KernelInUse:
    """One layer's kernel and its size. Copies and pickles of a layer begin with an empty one.

    last: the kernel of this thread's last forward pass.
    prepared: the kernel for its next one, where it has been sampled with those of other layers.
    """

    def __init__(self) -> None:
        self._own = _OfThread()
        self._kept: tuple[Ingredients, FactoredKernel, FactoredKernel] | None = None
        self._keepers = 0  # `kept_kernels` blocks that the layer is in
        self._known: dict[str, tuple[Tensor, int | None, tuple[int, ...]]] = {}

    def __reduce__(self) -> tuple:
        return KernelInUse, ()

    @property
    def last(self) -> FactoredKernel | Tensor | None:
        return self._own.last

    @last.setter
    def last(self, kernel: FactoredKernel | Tensor | None) -> None:
        self._own.last = kernel

    @property
    def prepared(self) -> FactoredKernel | None:
        return self._own.prepared

    @prepared.setter
    def prepared(self, kernel: FactoredKernel | None) -> None:
        self._own.prepared = kernel

    def take(self, layer: CKConv) -> FactoredKernel:
        """The kernel to convolve with: prepared, kept from an earlier evaluation, or sampled."""
        if self.prepared is not None:
            kernel, self.prepared = self.prepared, None
        elif self._may_keep(layer):
            return self._keep(layer)
        else:
            kernel = layer.sample_kernel()
        self.last = kernel
        return kernel

    def _may_keep(self, layer: CKConv) -> bool:
        """Whether the kernel may serve several passes: not where graphs are made of any sort."""
        if layer.training or torch.is_grad_enabled() or torch.compiler.is_compiling():
            return False
        return bool(layer.cache or self._keepers)

    def _keep(self, layer: CKConv) -> FactoredKernel:
        kept = self._kept
        if kept is None or not kept[0].are_those_of(layer):
            ingredients = Ingredients(layer)
            sampled = layer.sample_kernel()
            self._kept = kept = ingredients, sampled, sampled.keep()
        self.last = kept[1]  # without the spectra, which go when the kernel is no longer kept
        return kept[2]

    def hold(self) -> None:
        """Keep the kernel of evaluations from now on, until `release`."""
        with _COUNTING:
            self._keepers += 1

    def release(self, forget: bool) -> None:
        """End what `hold` began; the last one also drops the kept kernel if `forget`."""
        with _COUNTING:
            self._keepers -= 1
            if forget and not self._keepers:
                self.forget()

    def forget(self) -> None:
        """Drop what is meant for later passes: the kernels that are kept or prepared."""
        self.prepared = self._kept = None

    def clear(self) -> None:
        """Drop every kernel, of all threads: the layer has become another one."""
        self._kept = None
        self._own = _OfThread()

    def size(self, extent: Tensor) -> tuple[int, ...]:
        """What a layer's `extent` says, () for zeros."""
        numbers = self.numbers("extent", extent)
        return () if numbers is None or not all(numbers) else numbers

    def numbers(self, name: str, tensor: Tensor) -> tuple[int, ...] | None:
        """The numbers of a layer's buffer; from a GPU they are read once per change.

        There `buffer.data.copy_` is no change, as nothing counts it. Compiled code takes what was
        read last.
        """
        known = self._known.get(name)
        if tensor.is_meta:
            return None if known is None else known[2]
        if known is not None and (torch.compiler.is_compiling() or _is_as_known(tensor, known)):
            return known[2]
        return self._read(name, tensor)

    @not_compiled
    def _read(self, name: str, tensor: Tensor) -> tuple[int, ...]:
        version, numbers = _version(tensor), tuple(only_row(tensor).flatten().tolist())
        if all(numbers):
            self._known[name] = tensor, version, numbers
        return numbers

    def resize(self, extent: Tensor, size: Sequence[int]) -> None:
        """Write `size` to the layer's `extent`; what was sampled in another size is dropped."""
        with torch.no_grad():
            extent.copy_(torch.tensor(size))
        self._known["extent"] = extent, _version(extent), tuple(size)
        self.clear()


def size_for(horizon: str, size: Sequence[int], causal_axis: int | None) -> tuple[int, ...]:
    """The size of a kernel whose horizon, `same` or `full`, leaves it to an input of `size`."""
    if horizon == "full":
        return tuple(2 * n - 1 for n in size)
    return with_centres(size, causal_axis)


def with_centres(size: Sequence[int], causal_axis: int | None) -> tuple[int, ...]:
    """The next odd sizes, but along the axis of time."""
    return tuple(n if d == causal_axis else n + 1 - n % 2 for d, n in enumerate(size))


def _version(tensor: Tensor) -> int | None:
    return None if tensor.is_inference() else tensor._version


def _is_as_known(extent: Tensor, known: tuple[Tensor, int | None, tuple[int, ...]]) -> bool:
    is_far = extent.device.type != "cpu"  # where reading would wait for the device
    return is_far and known[0] is extent and known[1] == _version(extent)


class Ingredients:
    """All that a kernel is sampled from, settings and numbers, at one moment.

    Numbers are copied and compared, as counting writes misses `parameter.data.mul_(2)`. A
    generator has a few thousand: looking costs a small part of a convolution, and it walks a
    list, not the tree of modules.
    """

    def __init__(self, layer: CKConv) -> None:
        parts = [layer.generator] if layer.mask is None else [layer.generator, layer.mask]
        self._modules = [module for part in parts for module in part.modules()]
        self._children = [
            (module._modules, name, child)
            for module in self._modules
            for name, child in module._modules.items()
        ]
        self._tensors = [
            (table, name)
            for module in self._modules
            for table in (module._parameters, module._buffers)
            for name, tensor in table.items()
            if tensor is not None and tensor.is_floating_point()
        ]
        self._settings = self._settings_of(layer)
        self._numbers = self._gather()

    def are_those_of(self, layer: CKConv) -> bool:
        """Whether sampling the layer's kernel now would give the same."""
        if self._settings != self._settings_of(layer):
            return False
        if any(table.get(name) is not child for table, name, child in self._children):
            return False
        if any(table.get(name) is None for table, name in self._tensors):
            return False
        numbers = self._gather()
        return (
            numbers.dtype == self._numbers.dtype
            and numbers.device == self._numbers.device
            and torch.equal(numbers, self._numbers)
        )

    def _settings_of(self, layer: CKConv) -> tuple:
        mask = layer.mask
        cropping = None if mask is None else (mask.threshold, mask.dynamic_cropping)
        modes = [module.training for module in self._modules]
        parts = layer.generator, mask
        return layer.kernel_size, layer.grid, layer.sampling_rate_norm, cropping, modes, parts

    @torch.no_grad()
    def _gather(self) -> Tensor:
        numbers = [table[name].reshape(-1) for table, name in self._tensors]
        with full_precision(numbers[0].device):
            return torch.cat(numbers)
