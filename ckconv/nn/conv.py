"""Convolutions whose kernels are sampled from a continuous function."""

from __future__ import annotations

import math
from collections.abc import Sequence
from threading import Lock
from typing import ClassVar

import torch
from torch import Tensor, nn

import ckconv.functional as F
from ckconv.config import ConvConfig, KernelConfig, MaskConfig, parse_horizon, time_axis
from ckconv.functional import FactoredKernel
from ckconv.functional.geometry import as_uncropped, per_axis
from ckconv.nn import calls
from ckconv.nn.kernels import KernelInUse, size_for, with_centres
from ckconv.nn.parts import centres_under, check_mask, make_generator, make_mask
from ckconv.nn.rates import StepGrid
from ckconv.nn.sections import section

BACKENDS = {"auto": "auto", "true": "fft", "false": "direct"}
_FIRST_INPUT = Lock()  # of several threads, one fixes a layer's size


class CKConv(nn.Module):
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

    Raises:
        UsageError: for a configuration that cannot be built.
    """

    is_depthwise: ClassVar[bool] = False
    """Whether every channel is a group, whatever `conv.groups` says."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        dim: int = 2,
        kernel: KernelConfig | None = None,
        conv: ConvConfig | None = None,
        mask: MaskConfig | None = None,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        **others: object,
    ) -> None:
        super().__init__()
        calls.check_call(self, dim, (kernel, conv, mask), others)
        kernel, conv = kernel or KernelConfig(), conv or ConvConfig()
        ConvConfig.check(conv)
        self.groups = in_channels if self.is_depthwise else conv.groups
        calls.check_groups(in_channels, out_channels, self.groups)
        check_mask(mask)
        self.in_channels, self.out_channels, self.dim = in_channels, out_channels, dim
        self.horizon = parse_horizon(conv.horizon)
        self.backend = BACKENDS[str(conv.use_fft).lower()]
        self.padding, self.padding_mode = conv.padding, conv.padding_mode
        self.stride, self.dilation = conv.stride, conv.dilation
        self.causal_axis = time_axis(conv.causal, conv.causal_axis, dim)
        self.cache = conv.cache
        self.kernel_channels = out_channels, in_channels // self.groups
        self.generator, self.sampling_rate_norm = make_generator(
            kernel, dim, math.prod(self.kernel_channels), centres_under(mask)
        )
        self.weight_dropout = getattr(kernel, "weight_dropout", 0.0)
        self.grid: StepGrid | None = None  # None: as many positions as samples, from -1 to 1
        self.bias = nn.Parameter(torch.zeros(out_channels)) if conv.bias else None
        self.register_buffer("extent", torch.zeros(dim, dtype=torch.int64))
        self.mask = make_mask(mask, dim, conv)
        self.in_use = KernelInUse()
        self._is_new = True  # whether the mask is still to be fitted to the kernel's size
        if not isinstance(self.horizon, str):
            self._fix_size(per_axis("horizon", self.horizon, dim))
        self.to(device=device, dtype=dtype)

    def forward(self, x: Tensor) -> Tensor:
        """Convolve x (B, in_channels, *size), or without B; of its size with padding same."""
        self._meet(x)
        with section("convolution", self):
            kernel = self._kernel()
            sizes = self.kernel_size, kernel.shape[2:]
            x, padding = as_uncropped(x, self.padding, *sizes, self.dilation, self.causal_axis)
            return F.conv(
                x,
                kernel,
                self.bias,
                causal=self.causal_axis is not None,
                backend=self.backend,
                stride=self.stride,
                padding=padding,
                dilation=self.dilation,
                groups=self.groups,
                padding_mode=self.padding_mode,
                causal_axis=self.causal_axis or 0,
            )

    def last_step(self, x: Tensor) -> Tensor:
        """The last step alone of what `forward` gives in 1-D: (B, C, L) -> (B, O, 1)."""
        if F.current().backend is not None or not calls.is_plainly_causal(self):
            return self(x)[..., -1:]
        self._meet(x)
        with section("convolution", self):
            return F.last_output(x, self.in_use.take(self), self.bias)

    def _meet(self, x: Tensor) -> None:
        """Check an input; the first one fixes a size that is still open."""
        calls.check_input_shape(self, x)
        if self.kernel_size is None:
            self._fix_size(size_for(self.horizon, x.shape[-self.dim :], self.causal_axis))

    # ----- the kernel ---------------------------------------------------------------------------

    @property
    def conv_kernel(self) -> Tensor:
        """The kernel of the last forward pass, masked and cropped: (out, in, *size).

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

    def sample_kernel(self) -> FactoredKernel:
        """Sample the kernel from the generator, in the parameters' dtype."""
        with section("generation", self):
            return self._sample()

    def _sample(self) -> FactoredKernel:
        axes = self.axes(self.crop())
        with F.full_precision(axes[0].device):
            positions = torch.stack(torch.meshgrid(*axes, indexing="ij"))  # (dim, *size)
            return self._factor(self.generator.hidden(positions.flatten(1)), axes)

    def prepare(self, hidden: Tensor, axes: Sequence[Tensor]) -> None:
        """Give the next forward pass the generator's hidden functions (H, N) on `axes`' grid."""
        with section("generation", self), F.full_precision(hidden.device):
            self.in_use.prepared = self._factor(hidden, axes)

    def _factor(self, hidden: Tensor, axes: Sequence[Tensor]) -> FactoredKernel:
        """The kernel as the mix of masked hidden functions that the generator's output makes."""
        functions = hidden.view(-1, *[len(axis) for axis in axes])  # (H, *size)
        # The output map's bias is the weight of one more function, which is one everywhere.
        functions = torch.cat((functions, torch.ones_like(functions[:1])))
        weight = self.generator.output()
        basis = functions * self._weighting(axes)
        basis = basis if self.grid is None else self.grid.smoothed(basis)
        return FactoredKernel(weight.view(*self.kernel_channels, -1), basis)

    def _weighting(self, axes: Sequence[Tensor]) -> Tensor | float:
        """What the generator's values are multiplied by."""
        if self.mask is None:
            return self.sampling_rate_norm
        with section("masking", self):
            weighting = self.mask(axes)
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

    def axes(self, ranges: Sequence[tuple[int, int]]) -> list[Tensor]:
        """Positions on [-1, 1] of the samples in `ranges`, one vector per axis."""
        like = next(self.generator.parameters())
        axes = []
        for n, (start, stop) in zip(self._known_kernel_size(), ranges):
            first = -1.0 if n > 1 else 0.0  # a single sample sits at the centre
            last = 1.0 if self.grid is None else self.grid.last
            line = torch.linspace(first, last, n, device=like.device, dtype=like.dtype)
            axes.append(line[start:stop])
        return axes

    def train(self, mode: bool = True) -> CKConv:
        self.in_use.forget()
        return super().train(mode)

    # ----- its size -----------------------------------------------------------------------------

    @property
    def kernel_size(self) -> tuple[int, ...] | None:
        """Samples per axis before cropping; None until an input or a checkpoint fixes them."""
        return self.in_use.size(self.extent)

    def _known_kernel_size(self) -> tuple[int, ...]:
        size = self.kernel_size
        if size is None:
            raise RuntimeError(
                f"conv.horizon={self.horizon}: the kernel's size is fixed by the first input or "
                "by a loaded checkpoint, and there has been neither"
            )
        return size

    @torch.compiler.disable
    def _fix_size(self, size: tuple[int, ...]) -> None:
        """Fix the size of a kernel that has none yet, and fit the mask of a new layer to it."""
        with _FIRST_INPUT:
            if self.kernel_size is not None:
                return  # another thread was first
            if self.mask is not None and self._is_new:
                self.mask.widen(size)
            self.in_use.resize(self.extent, size)

    def set_resolution(self, ratio: float | Sequence[float]) -> None:
        """Deploy the layer at `ratio` = new / trained resolution, per axis or one for all.

        The kernel keeps its span: it is sampled `ratio` times as finely and divided by the
        growth of the number of samples, so that the sum over it, an integral, stays the same
        (FlexConv paper, section 3.3). The ratio is relative to the layer as it is now.
        """
        ratios = calls.ratios(ratio, self.dim)
        sizes = []
        for n, r in zip(self._known_kernel_size(), ratios):
            sizes.append(max(int((n - 1) * r + 1e-6) + 1, 1))
            self.sampling_rate_norm /= r
        self.in_use.resize(self.extent, with_centres(sizes, self.causal_axis))

    # ----- saving, loading, copying -------------------------------------------------------------

    def _load_from_state_dict(self, state_dict: dict, prefix: str, *args: object) -> None:
        """A loaded checkpoint fixes the size of a kernel whose horizon leaves it open."""
        loaded = state_dict.get(prefix + "extent")
        if loaded is None and prefix + "mask.sigma" in state_dict:
            self._is_new = False  # a trained mask, from where sizes are not kept
        if loaded is not None and (not isinstance(self.horizon, str) or not loaded.any()):
            state_dict = {**state_dict, prefix + "extent": self.extent}
        super()._load_from_state_dict(state_dict, prefix, *args)
        self.in_use.clear()
        self.in_use.size(self.extent)  # read now: compiled code takes it as it was read last

    def _apply(self, *args: object, **named: object) -> CKConv:
        """Moved, and made anew by `to_empty`, the layer keeps its kernel's size."""
        extent, size = self.extent, self.kernel_size
        super()._apply(*args, **named)
        if self.extent is not extent and size is not None:
            self.in_use.resize(self.extent, size)
        return self

    def _replicate_for_data_parallel(self) -> CKConv:
        replica = super()._replicate_for_data_parallel()
        replica.in_use = KernelInUse()  # replicas run at the same time
        return replica

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
        kernel: KernelConfig | None = None,
        conv: ConvConfig | None = None,
        mask: MaskConfig | None = None,
        **named: object,
    ) -> None:
        super().__init__(
            in_channels, out_channels, dim, kernel, conv, mask or MaskConfig(), **named
        )
