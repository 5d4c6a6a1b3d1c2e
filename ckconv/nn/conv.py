"""Convolutions whose kernels are sampled from a continuous function."""

from __future__ import annotations

from collections.abc import Sequence
from threading import Lock

import torch
from torch import Tensor, nn

import ckconv.functional as F
from ckconv.config import (
    ConvConfig,
    KernelConfig,
    MaskConfig,
    parse_horizon,
)
from ckconv.errors import UsageError, pick
from ckconv.functional import FactoredKernel
from ckconv.nn import ck
from ckconv.nn.kernels import KernelInUse
from ckconv.nn.mask import MASKS
from ckconv.nn.rates import StepGrid
from ckconv.nn.sections import section

BACKENDS = {"auto": "auto", "true": "fft", "false": "direct"}
_FIRST_INPUT = Lock()  # of several threads, one fixes a layer's size


class CKConv(nn.Module):
    """A convolution with a continuous kernel (CKConv, Romero et al., ICLR 2022, section 4).

    A small network, the generator, gives the kernel's value at any position on [-1, 1]; the
    kernel is sampled from it in every forward pass. In 1-D the convolution is causal, in 2-D
    centred.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        dim: 1 for (B, C, L) inputs, 2 for (B, C, H, W).
        kernel: the generator; default a MAGNet of 3 layers of 32.
        conv: horizon (an odd number of samples, `same` or `full`), bias, padding, stride, backend
            and caching. With `same` and `full` the first input, or a loaded checkpoint, fixes the
            kernel's size; later inputs of any size meet the same kernel.
        mask: what the kernel is multiplied by, as `FlexConv` has it; default none. The centres of
            the generator's filters then start in +-min(1, 1.667 * mask.init_value), under it.

    Raises:
        UsageError: for a configuration that cannot be built.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        dim: int = 2,
        kernel: KernelConfig | None = None,
        conv: ConvConfig | None = None,
        mask: MaskConfig | None = None,
    ) -> None:
        super().__init__()
        kernel, conv = kernel or KernelConfig(), conv or ConvConfig()
        ConvConfig.check(conv)
        if mask is not None:
            MaskConfig.check(mask)
        if dim not in (1, 2):
            raise UsageError(f"dim={dim}: a continuous-kernel convolution has 1 or 2 dimensions")
        self.in_channels, self.out_channels, self.dim = in_channels, out_channels, dim
        self.horizon = parse_horizon(conv.horizon)
        self.backend = BACKENDS[str(conv.use_fft).lower()]
        self.padding, self.stride, self.cache = conv.padding, conv.stride, conv.cache
        self.sampling_rate_norm = float(kernel.sampling_rate_norm)
        self.weight_dropout = kernel.weight_dropout
        self.grid: StepGrid | None = None  # None: as many positions as samples, from -1 to 1
        centres = None if mask is None else min(1.0, 1.667 * mask.init_value)
        self.generator = ck.build(kernel, dim, in_channels * out_channels, centres)
        self.bias = nn.Parameter(torch.zeros(out_channels)) if conv.bias else None
        self.register_buffer("extent", torch.zeros(dim, dtype=torch.int64))
        self.mask = None
        if mask is not None and mask.use:
            self.mask = pick("mask.type", mask.type, MASKS).build(mask, dim)
        self.in_use = KernelInUse()
        self._is_new = True  # whether the mask is still to be fitted to the kernel's size
        if isinstance(self.horizon, int):
            self._fix_size((self.horizon,) * dim)

    def forward(self, x: Tensor) -> Tensor:
        """Convolve x (B, in_channels, *size); the output has the input's size with padding same."""
        if x.ndim != self.dim + 2 or x.shape[1] != self.in_channels:
            raise ValueError(
                f"input has shape {tuple(x.shape)}; this layer takes (B, {self.in_channels}, "
                f"{'L' if self.dim == 1 else 'H, W'})"
            )
        if self.kernel_size is None:
            self._fix_size(self._size_from_input(x.shape[2:]))
        with section("convolution", self):
            return F.conv(
                x,
                self._kernel(),
                self.bias,
                causal=self.dim == 1,
                backend=self.backend,
                stride=self.stride,
                padding=self.padding,
            )

    def last_step(self, x: Tensor) -> Tensor:
        """The last step alone of what `forward` gives in 1-D: (B, C, L) -> (B, O, 1)."""
        if F.current().backend is not None:
            return self(x)[..., -1:]
        if self.kernel_size is None:
            self._fix_size(self._size_from_input(x.shape[2:]))
        with section("convolution", self):
            kernel = self.in_use.take(self)
            k = min(kernel.size[0], x.shape[2])
            with torch.autocast(x.device.type, enabled=False):
                recent = x[..., -k:].to(kernel.basis.dtype)
                mixed = recent @ kernel.basis[:, -k:].T  # (B, C, H)
                y = mixed.flatten(1) @ kernel.weight.flatten(1).T  # (B, O)
                y = y if self.bias is None else y + self.bias
        return y[..., None].to(x.dtype)

    # ----- the kernel ---------------------------------------------------------------------------

    @property
    def conv_kernel(self) -> Tensor:
        """The kernel of the last forward pass, masked and cropped: (out, in, *size).

        Where there has been none since the layer was made, copied, loaded or resized, the kernel
        as it is sampled now.
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
        with torch.autocast(axes[0].device.type, enabled=False):
            positions = torch.stack(torch.meshgrid(*axes, indexing="ij"))  # (dim, *size)
            return self._factor(self.generator.hidden(positions.flatten(1)), axes)

    def prepare(self, hidden: Tensor, axes: Sequence[Tensor]) -> None:
        """Give the next forward pass the generator's hidden functions (H, N) on `axes`' grid."""
        device = hidden.device.type
        with section("generation", self), torch.autocast(device, enabled=False):
            self.in_use.prepared = self._factor(hidden, axes)

    def _factor(self, hidden: Tensor, axes: Sequence[Tensor]) -> FactoredKernel:
        """The kernel as the mix of masked hidden functions that the generator's output makes."""
        functions = hidden.view(-1, *[len(axis) for axis in axes])  # (H, *size)
        # The output map's bias is the weight of one more function, which is one everywhere.
        functions = torch.cat((functions, torch.ones_like(functions[:1])))
        output = self.generator.output
        weight = torch.cat((output.effective_weight(), output.bias[:, None]), dim=1)
        basis = functions * self._weighting(axes)
        basis = basis if self.grid is None else self.grid.smoothed(basis)
        return FactoredKernel(weight.view(self.out_channels, self.in_channels, -1), basis)

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

    def _size_from_input(self, size: Sequence[int]) -> tuple[int, ...]:
        if self.horizon == "full":
            return tuple(2 * n - 1 for n in size)
        return tuple(n if self.dim == 1 else n + 1 - n % 2 for n in size)

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
        ratios = [float(ratio)] * self.dim if isinstance(ratio, int | float) else list(ratio)
        sizes = []
        for n, r in zip(self._known_kernel_size(), ratios):
            new = max(int((n - 1) * r + 1e-6) + 1, 1)
            sizes.append(new if self.dim == 1 else new + 1 - new % 2)
            self.sampling_rate_norm /= r
        self.in_use.resize(self.extent, sizes)

    # ----- saving, loading, copying -------------------------------------------------------------

    def _load_from_state_dict(self, state_dict: dict, prefix: str, *args: object) -> None:
        """A loaded checkpoint fixes the size of a kernel whose horizon leaves it open."""
        loaded = state_dict.get(prefix + "extent")
        if loaded is None and prefix + "mask.sigma" in state_dict:
            self._is_new = False  # a trained mask, from where sizes are not kept
        if loaded is not None and (isinstance(self.horizon, int) or not loaded.any()):
            state_dict = {**state_dict, prefix + "extent": self.extent}
        super()._load_from_state_dict(state_dict, prefix, *args)
        self.in_use.clear()
        self.in_use.size(self.extent)  # read now: compiled code takes it as it was read last

    def _replicate_for_data_parallel(self) -> CKConv:
        replica = super()._replicate_for_data_parallel()
        replica.in_use = KernelInUse()  # replicas run at the same time
        return replica

    def extra_repr(self) -> str:
        return (
            f"{self.in_channels}, {self.out_channels}, dim={self.dim}, horizon={self.horizon}, "
            f"kernel_size={self.kernel_size}"
        )


class FlexConv(CKConv):
    """A CKConv whose kernel is cropped and multiplied by a learned Gaussian mask.

    FlexConv, Romero, Bruintjes et al., ICLR 2022, section 3.1: `psi(x) = mask(x) * generator(x)`.
    The mask's width, and with it the kernel's size, is learned.

    Args:
        in_channels, out_channels, dim, kernel, conv: as for `CKConv`.
        mask: its initial sigma, its threshold, whether it crops, whether it is there at all.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        dim: int = 2,
        kernel: KernelConfig | None = None,
        conv: ConvConfig | None = None,
        mask: MaskConfig | None = None,
    ) -> None:
        super().__init__(in_channels, out_channels, dim, kernel, conv, mask or MaskConfig())
