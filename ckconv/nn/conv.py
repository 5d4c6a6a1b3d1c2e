"""Convolutions whose kernels are sampled from a continuous function."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor, nn

import ckconv.functional as F
from ckconv.config import ConvConfig, MaskConfig, parse_horizon, time_axis
from ckconv.functional import FactoredKernel
from ckconv.functional.compiling import not_compiled
from ckconv.nn import calls
from ckconv.nn.constant import convolve
from ckconv.nn.kernels import Grid
from ckconv.nn.parts import (
    KernelLike,
    MaskLike,
    Settings,
    centres_under,
    make_generator,
    make_mask,
)
from ckconv.nn.sections import section
from ckconv.nn.sized import Sized

if TYPE_CHECKING:
    from jaxtyping import Float, Inexact

BACKENDS = {"auto": "auto", "true": "fft", "false": "direct"}


class CKConv(Sized):
    """A convolution with a continuous kernel (CKConv, Romero et al., ICLR 2022, section 4).

    A small network, the generator, gives the kernel's value at any position on [-1, 1]; the
    kernel is sampled from it in every forward pass. In 1-D the convolution is causal, with more
    axes centred, where `conv.causal` does not say otherwise.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        dim: 1 for (B, C, L) inputs, 2 for (B, C, H, W), 3 for (B, C, D, H, W).
        kernel: the generator; default a MAGNet of 3 layers of 32.
        conv: horizon, groups, causality, bias, padding, stride, dilation, backend and caching.
            With the horizons `same` and `full` the first input, or a loaded checkpoint, fixes the
            kernel's size; later inputs of any size meet the same kernel.
        mask: what the kernel is multiplied by, as `FlexConv` has it; default none. The centres of
            the generator's filters then start in +-min(1, 1.667 * mask.init_value), under it.

    `kernel` may also be `Settings`, all three at once: a network's layers share them.

    Raises:
        UsageError: for a configuration that cannot be built.
    """

    is_depthwise: ClassVar[bool] = False
    """Whether every channel is a group of its own."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        dim: int = 2,
        kernel: KernelLike | Settings | None = None,
        conv: ConvConfig | None = None,
        mask: MaskLike | None = None,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        **others: object,
    ) -> None:
        super().__init__()
        calls.check_call(self, dim, (kernel, conv, mask), others)
        settings = Settings.of(kernel, conv, mask)
        kernel, conv, mask = settings.kernel, settings.conv, settings.mask
        self.groups = calls.groups_of(self, conv.groups, in_channels)
        calls.check_channels(in_channels, out_channels, self.groups)
        calls.check_dtype(dtype)
        self.in_channels, self.out_channels, self.dim = in_channels, out_channels, dim
        self.horizon = parse_horizon(conv.horizon)
        self.backend = BACKENDS[str(conv.use_fft).lower()]
        self.padding, self.padding_mode = conv.padding, conv.padding_mode
        self.stride, self.dilation = conv.stride, conv.dilation
        self.causal_axis = time_axis(conv.causal, conv.causal_axis, dim)
        calls.check_axes(self)
        self.cache = conv.cache
        self.kernel_channels = out_channels, in_channels // self.groups
        self.generator, norm = make_generator(
            kernel, dim, math.prod(self.kernel_channels), centres_under(mask)
        )
        self.weight_dropout = getattr(kernel, "weight_dropout", 0.0)
        self.bias = nn.Parameter(torch.zeros(out_channels)) if conv.bias else None
        self.mask = make_mask(mask, dim, conv)
        if self.causal_axis is not None:
            self.generator.precede(self.causal_axis)
        self._begin(dim, norm, self.generator is not kernel)
        self.to(device=device, dtype=dtype)

    def forward(
        self, x: Inexact[Tensor, "*batch_channels_size"]
    ) -> Inexact[Tensor, "*batch_out_size"]:
        """Convolve x (B, in_channels, *size), or without B; of its size with padding same.

        In x's dtype; under autocast a direct convolution gives the lower precision.
        """
        return self._convolved(x, self.bias)

    def _convolved(self, x: Tensor, bias: Tensor | None) -> Tensor:
        self._meet(x)
        if torch.compiler.is_compiling() and self.training and calls.is_cropped(self):
            # the compiler shows the line that it stops at
            return self._convolve_uncompiled(x, bias)  # whole with dynamic_cropping=False or eval()
        return self._convolve(x, bias)

    @not_compiled
    def _convolve_uncompiled(self, x: Tensor, bias: Tensor | None) -> Tensor:
        return self._convolve(x, bias)

    def _convolve(self, x: Tensor, bias: Tensor | None) -> Tensor:
        with section("convolution", self):
            kernel = self._kernel()
            if self.padding == "valid":
                x = self._beside(x, kernel)
            return convolve(self, x, kernel, bias)

    def last_step(self, x: Float[Tensor, "B channels L"]) -> Float[Tensor, "B out 1"]:
        """The last step alone of what `forward` gives in 1-D: (B, C, L) -> (B, O, 1)."""
        if F.current().backend is not None or not calls.is_plainly_causal(self):
            return self(x)[..., -1:]
        self._meet(x)
        with section("convolution", self):
            return F.last_output(x, self.in_use.take(self), self.bias)

    def _meet(self, x: Tensor) -> None:
        """Check an input; the first one fixes a size that is still open."""
        calls.check_input_shape(self, x)
        if not self.kernel_size:  # run the layer once before it is compiled whole
            self._fix_size_from(x)

    # ----- the kernel ---------------------------------------------------------------------------

    @property
    def conv_kernel(self) -> Tensor:
        """The kernel of the last forward pass, masked and cropped: (out, in, *size).

        It is this thread's last pass. Of one with gradients, along an axis cropped to one sample,
        with its neighbours: zeros.
        Where there has been none since the layer was made, copied or resized, as it is now.
        """
        if self.in_use.last is None:
            self.in_use.last = self.sample_kernel()
        kernel = self.in_use.last
        return kernel.dense() if isinstance(kernel, FactoredKernel) else kernel

    def _kernel(self) -> FactoredKernel | Tensor:
        """The kernel to convolve with, in training under dropout if that is asked for."""
        kernel = self.in_use.take(self)
        if self.training and self.weight_dropout:
            kernel = self.in_use.last = nn.functional.dropout(kernel.dense(), self.weight_dropout)
        return kernel

    def _beside(self, x: Tensor, kernel: FactoredKernel | Tensor) -> Tensor:
        """The input with zeros for the neighbours of kernels that are cropped to one sample."""
        sides = []
        for n, own in zip(kernel.shape[:1:-1], self.cropped_size()[::-1]):
            sides += [n - own, 0] if n - own == 1 else [(n - own) // 2] * 2
        return nn.functional.pad(x, sides) if any(sides) else x

    def sample_kernel(self) -> FactoredKernel:
        """Sample the kernel from the generator, in float32 at least, into the parameters' dtype."""
        with section("generation", self):
            return self._sample()

    def _sample(self) -> FactoredKernel:
        grid = self.grid_of(self.crop())
        with F.full_precision(grid.axes[0].device):
            positions = torch.stack(torch.meshgrid(*grid.axes, indexing="ij"))  # (dim, *size)
            return self._factor(self.generator.hidden(positions.flatten(1)), grid)

    def prepare(self, hidden: Float[Tensor, "H N"], grid: Grid) -> None:
        """Give the next forward pass the generator's hidden functions (H, N) on a grid."""
        with section("generation", self), F.full_precision(hidden.device):
            self.in_use.prepared = self._factor(hidden, grid)

    def _factor(self, hidden: Float[Tensor, "H N"], grid: Grid) -> FactoredKernel:
        """The kernel as the mix of masked hidden functions that the generator's output makes."""
        axes = grid.axes
        functions = hidden.view(-1, *[len(axis) for axis in axes])  # (H, *size)
        # The output map's bias is the weight of one more function, which is one everywhere.
        functions = torch.cat((functions, torch.ones_like(functions[:1])))
        weight = self.generator.output()
        weighting = self._weighting(grid)
        basis = functions * weighting
        if grid.alone or (self.mask is not None and not self.mask.dynamic_cropping):
            basis = basis + self.mask.unseen(functions, weighting)
        basis = basis if self.grid is None else self.grid.smoothed(basis)
        own = self.generator.output.bias.dtype
        return FactoredKernel(weight.view(*self.kernel_channels, -1).to(own), basis.to(own))

    def _weighting(self, grid: Grid) -> Tensor | float:
        """What the generator's values are multiplied by."""
        if self.mask is None:
            return self.sampling_rate_norm
        with section("masking", self):
            weighting = self.mask(grid.axes, grid.alone)
        return weighting * self.sampling_rate_norm

    def crop(self) -> tuple[tuple[int, int], ...]:
        """Per axis the range (start, stop) of samples of the full kernel that are used."""
        size = self._known_kernel_size()
        if self.mask is None:
            return tuple((0, n) for n in size)
        with section("masking", self):
            return self.mask.crop(size)

    def cropped_size(self) -> tuple[int, ...]:
        """The kernel's size per axis after cropping."""
        return tuple(stop - start for start, stop in self.crop())

    def grid_of(self, crop: Sequence[tuple[int, int]]) -> Grid:
        """Where a kernel is sampled that is cropped so.

        Where a mask has cropped an axis to one sample, and is learned, its neighbours are sampled
        too: they are zero, and by their gradient the mask learns whether to grow.
        """
        if self.mask is None:
            return Grid(self.axes(crop))
        size = self._known_kernel_size()
        alone = self.mask.single_samples(crop, size)
        if alone and torch.is_grad_enabled() and self.mask.sigma.requires_grad:
            crop = self.mask.with_neighbours(crop, alone)
        return Grid(self.axes(crop), alone)

    def axes(
        self, ranges: Sequence[tuple[int, int]], size: Sequence[int] = ()
    ) -> list[Float[Tensor, " n"]]:
        """Positions on [-1, 1] of the samples in `ranges`, one vector per axis, float32 at least.

        Of a kernel of `size`, if it is given before the layer has one.
        """
        like = self.generator.output.bias  # there in the replicas of `nn.DataParallel` too
        dtype = torch.promote_types(like.dtype, torch.float32)
        axes = []
        for n, (start, stop) in zip(size or self._known_kernel_size(), ranges):
            first = -1.0 if n > 1 else 0.0  # a single sample sits at the centre
            last = 1.0 if self.grid is None else self.grid.last
            line = torch.linspace(first, last, n, device=like.device, dtype=dtype)
            axes.append(line[start:stop])
        return axes

    def train(self, mode: bool = True) -> CKConv:
        self.in_use.forget()
        return super().train(mode)

    extra_repr = calls.describe
    __prepare_scriptable__ = calls.refuse_script


class FlexConv(CKConv):
    """A CKConv whose kernel is cropped and multiplied by a mask: its size is learned.

    FlexConv, Romero, Bruintjes et al., ICLR 2022, section 3.1: `psi(x) = mask(x) * generator(x)`.
    Arguments are as for `CKConv`; a Gaussian mask is there if nothing is said.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        dim: int = 2,
        kernel: KernelLike | Settings | None = None,
        conv: ConvConfig | None = None,
        mask: MaskLike | None = None,
        **named: object,
    ) -> None:
        super().__init__(
            in_channels,
            out_channels,
            dim,
            kernel,
            conv,
            MaskConfig() if mask is None else mask,
            **named,
        )
