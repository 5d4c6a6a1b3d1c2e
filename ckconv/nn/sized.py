"""The size and the resolution at which a layer's kernel is sampled: a part of its state."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from threading import Lock
from typing import TYPE_CHECKING

import torch
import torch.distributed as dist
from torch import Tensor, nn

from ckconv.functional.compiling import not_compiled
from ckconv.functional.geometry import per_axis
from ckconv.nn import calls
from ckconv.nn.kernels import KernelInUse, size_for, with_centres

if TYPE_CHECKING:
    from ckconv.nn.ck import Generator
    from ckconv.nn.mask import Mask
    from ckconv.nn.rates import StepGrid

_FIRST_INPUT = Lock()  # of several threads, one fixes a layer's size
FINEST = 1_000_000  # largest denominator of a resolution


class Sized(nn.Module):
    """A layer whose kernel's size is given, or fixed by the first input or a checkpoint.

    Size and resolution are buffers, whole numbers: saved, loaded, moved, averaged and shared
    between processes with the weights that they belong to, and the same in any dtype.

    Compiled code takes both as they were read last: after `set_resolution`, a checkpoint, or an
    uncompiled pass. Who writes to the buffers by hand runs the layer once uncompiled.

    extent: samples per axis, (dim,); zeros as long as they are not known.
    resolution: present / trained resolution, numerators per axis, then denominators, (2 dim,).
    grid: positions of a step of their own; None: as many as there are samples, from -1 to 1.
    """

    extent: Tensor
    resolution: Tensor
    grid: StepGrid | None
    horizon: int | tuple[int, ...] | str
    causal_axis: int | None
    kernel_channels: tuple[int, int]
    generator: Generator
    mask: Mask | None

    def _begin(self, dim: int, sampling_rate_norm: float, is_own: bool) -> None:
        """Start with no size, at the resolution of training; `is_own`: the generator is new."""
        self.register_buffer("extent", torch.zeros(dim, dtype=torch.int64))
        self.register_buffer("resolution", torch.ones(2 * dim, dtype=torch.int64))
        self.grid = None
        self.in_use = KernelInUse()
        self._norm = float(sampling_rate_norm)
        self._is_new = True  # whether the mask is still to be fitted to the kernel's size
        self._is_own = is_own
        if not isinstance(self.horizon, str):
            self._fix_size(per_axis("conv.horizon", self.horizon, dim))

    @property
    def kernel_size(self) -> tuple[int, ...]:
        """Samples per axis before cropping; () until an input or a checkpoint fixes them."""
        return self.in_use.size(self.extent)

    @property
    def sampling_rate_norm(self) -> float:
        """The factor on the kernel's values: the setting, over the present resolution."""
        norm = self._norm
        for ratio in self._ratios():
            norm /= ratio
        return norm

    @sampling_rate_norm.setter
    def sampling_rate_norm(self, factor: float) -> None:
        self._norm = 1.0
        self._norm = factor / self.sampling_rate_norm

    def _ratios(self) -> tuple[float, ...]:
        numbers = self._resolution_numbers()
        half = len(numbers) // 2
        return tuple(over / under for over, under in zip(numbers[:half], numbers[half:]))

    def _resolution_numbers(self) -> tuple[int, ...]:
        """What `resolution` holds; on the meta device, which holds nothing, that of training."""
        known = self.in_use.numbers("resolution", self.resolution)
        return (1,) * len(self.resolution) if known is None else known

    def _known_kernel_size(self) -> tuple[int, ...]:
        size = self.kernel_size
        if not size:
            raise RuntimeError(
                f"conv.horizon={self.horizon}: the kernel's size is fixed by the first input or "
                "by a loaded checkpoint, and there has been neither"
            )
        return size

    @not_compiled
    def _fix_size_from(self, x: Tensor) -> None:
        """Fix a size that is still open by the first input (..., *size).

        In a process group all processes take part, and the largest of their inputs decides.
        """
        size = size_for(self.horizon, x.shape[-len(self.extent) :], self.causal_axis)
        self._fix_size(_agreed(size, self.extent.device))

    def _fix_size(self, size: tuple[int, ...]) -> None:
        """Fix the size of a kernel that has none yet, and fit the mask of a new layer to it."""
        with _FIRST_INPUT:
            if self.kernel_size:
                return  # another thread was first
            if self._is_new and not self.extent.is_meta:
                self._start(size)
            self.in_use.resize(self.extent, size)  # other threads go on from here

    @torch.no_grad()
    def _start(self, size: tuple[int, ...]) -> None:
        """Fit the mask and the generator of a new layer to its kernel's size.

        Where `mask.init_value=auto` fits the mask, a generator made with the layer is balanced.
        """
        balances = self.mask is not None and self.mask.is_unfitted and self._is_own
        if self.mask is not None:
            self.generator.spread(self.mask.fit(size))
        crop = [(0, n) for n in size] if self.mask is None else self.mask.crop(size)
        if self.generator.preserves_variance:
            samples = math.prod(stop - start for start, stop in crop)
            self.generator.scale(self.kernel_channels[1] * samples)
        elif balances:
            axes = self.axes(crop, size)
            positions = torch.stack(torch.meshgrid(*axes, indexing="ij")).flatten(1)  # (dim, N)
            step = positions.new_tensor([2 / max(n - 1, 1) for n in size])
            weighting, channels = self.mask(axes).flatten(), self.kernel_channels[1]
            self.generator.balance(positions, weighting, channels, step)

    @torch.no_grad()
    def set_resolution(self, ratio: float | Sequence[float]) -> None:
        """Deploy the layer at `ratio` = new / trained resolution, per axis or one for all.

        The kernel keeps its span: it is sampled `ratio` times as finely and divided by the
        growth of the number of samples, so that the sum over it, an integral, stays the same
        (FlexConv paper, section 3.3). The ratio is relative to the layer as it is now.
        """
        size = self._known_kernel_size()
        ratios = calls.ratios(ratio, len(size))
        sizes = [max(int((n - 1) * r + 1e-6) + 1, 1) for n, r in zip(size, ratios)]
        for axis, r in enumerate(ratios):
            over, under = self.resolution.view(2, -1)[:, axis].tolist()
            new = (Fraction(r) * Fraction(over, under)).limit_denominator(FINEST)
            self.resolution.view(2, -1)[:, axis] = torch.tensor([new.numerator, new.denominator])
        self.in_use.resize(self.extent, with_centres(sizes, self.causal_axis))
        self._read()

    def _load_from_state_dict(self, state_dict: dict, prefix: str, *args: object) -> None:
        """A checkpoint brings the size and the resolution that its weights were saved at.

        At the resolution of training, a given horizon stands over the checkpoint's size.
        """
        extent, resolution = (state_dict.get(prefix + k) for k in ("extent", "resolution"))
        if extent is None and prefix + "mask.sigma" in state_dict:
            self._is_new = False  # a trained mask, from where sizes are not kept
        is_deployed = resolution is not None and not torch.equal(*resolution.chunk(2))
        if extent is None or not extent.any():
            extent, resolution = self.extent, self.resolution
        elif not isinstance(self.horizon, str) and not is_deployed:
            extent = torch.tensor(per_axis("conv.horizon", self.horizon, len(self.extent)))
        if resolution is None:  # files from before it was kept
            resolution = torch.ones_like(self.resolution)
        own = {prefix + "resolution": resolution}
        if prefix + "extent" in state_dict:
            own[prefix + "extent"] = extent
        super()._load_from_state_dict({**state_dict, **own}, prefix, *args)
        self.in_use.clear()
        self._read()

    def __setstate__(self, state: dict) -> None:
        super().__setstate__(state)
        self._read()

    def _read(self) -> None:
        """Read size and resolution now: compiled code takes them as they were read last."""
        self._ratios(), self.kernel_size

    def _apply(self, *args: object, **named: object) -> nn.Module:
        """Moved, and made anew by `to_empty`, the layer keeps its kernel's size."""
        extent, size = self.extent, self.kernel_size
        known = self._resolution_numbers()
        super()._apply(*args, **named)
        if self.extent is not extent:
            if size:
                self.in_use.resize(self.extent, size)
            with torch.no_grad():
                self.resolution.copy_(torch.tensor(known))
        return self

    def _replicate_for_data_parallel(self) -> nn.Module:
        replica = super()._replicate_for_data_parallel()
        replica.in_use = KernelInUse()  # replicas run at the same time
        return replica


def _agreed(size: tuple[int, ...], device: torch.device) -> tuple[int, ...]:
    """The largest size that any process of a group has found, per axis."""
    if not (dist.is_available() and dist.is_initialized()) or dist.get_world_size() == 1:
        return size
    largest = torch.tensor(size, device=device)
    dist.all_reduce(largest, dist.ReduceOp.MAX)
    return tuple(largest.tolist())


@torch.no_grad()
def fix_sizes(network: nn.Module, channels: int, size: Sequence[int]) -> None:
    """Show a network an input (1, channels, *size) of zeros: the first one fixes kernel sizes."""
    was_training = network.training
    network.eval()
    like = next(network.parameters())
    network(like.new_zeros(1, channels, *size))
    network.train(was_training)
