"""Convolutions whose kernels are sampled from a continuous function."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

import ckconv.functional as F
from ckconv.config import (
    ConvConfig,
    KernelConfig,
    MaskConfig,
    parse_horizon,
    validate_conv,
    validate_mask,
)
from ckconv.errors import UsageError
from ckconv.functional import FactoredKernel
from ckconv.nn import ck
from ckconv.nn.mask import GaussianMask
from ckconv.nn.versions import Versions

BACKENDS = {"auto": "auto", "true": "fft", "false": "direct"}


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
    ) -> None:
        super().__init__()
        kernel, conv = kernel or KernelConfig(), conv or ConvConfig()
        validate_conv(conv)
        if dim not in (1, 2):
            raise UsageError(f"dim={dim}: a continuous-kernel convolution has 1 or 2 dimensions")
        self.in_channels, self.out_channels, self.dim = in_channels, out_channels, dim
        self.horizon = parse_horizon(conv.horizon)
        self.backend = BACKENDS[str(conv.use_fft).lower()]
        self.padding, self.stride, self.cache = conv.padding, conv.stride, conv.cache
        self.sampling_rate_norm = float(kernel.sampling_rate_norm)
        self.generator = self._build_generator(kernel)
        self.bias = nn.Parameter(torch.zeros(out_channels)) if conv.bias else None
        self.register_buffer("extent", torch.zeros(dim, dtype=torch.int64))
        self.kernel_size: tuple[int, ...] | None = None
        self._sampled: FactoredKernel | None = None
        self._prepared: FactoredKernel | None = None
        self._kept: tuple | None = None  # what the sampled kernel was made of, where it is kept
        if isinstance(self.horizon, int):
            self._fix_kernel_size((self.horizon,) * dim)

    def _build_generator(self, kernel: KernelConfig) -> ck.Generator:
        return ck.build(kernel, self.dim, self.in_channels * self.out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """Convolve x (B, in_channels, *size); the output has the input's size with padding same."""
        if x.ndim != self.dim + 2 or x.shape[1] != self.in_channels:
            raise ValueError(
                f"input has shape {tuple(x.shape)}; this layer takes (B, {self.in_channels}, "
                f"{'L' if self.dim == 1 else 'H, W'})"
            )
        if self.kernel_size is None:
            self._fix_kernel_size(self._size_from_input(x.shape[2:]))
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
        if self.kernel_size is None:
            self._fix_kernel_size(self._size_from_input(x.shape[2:]))
        kernel = self._kernel()
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
        """The kernel of the last forward pass, masked and cropped: (out, in, *size)."""
        if self._sampled is None:
            self._sampled = self.sample_kernel()
        return self._sampled.dense()

    def kernel_norm(self) -> Tensor:
        """The L2 norm of `conv_kernel`."""
        return self.conv_kernel.norm() if self._sampled is None else self._sampled.norm()

    def sample_kernel(self) -> FactoredKernel:
        """Sample the kernel from the generator, in the parameters' dtype."""
        axes = self.axes(self.crop())
        with torch.autocast(axes[0].device.type, enabled=False):
            positions = torch.stack(torch.meshgrid(*axes, indexing="ij"))  # (dim, *size)
            return self._factor(self.generator.hidden(positions.flatten(1)), axes)

    def prepare(self, hidden: Tensor, axes: Sequence[Tensor]) -> None:
        """Give the next forward pass the generator's hidden functions (H, N) on `axes`' grid."""
        with torch.autocast(hidden.device.type, enabled=False):
            self._prepared = self._factor(hidden, axes)

    def _factor(self, hidden: Tensor, axes: Sequence[Tensor]) -> FactoredKernel:
        """The kernel as the mix of masked hidden functions that the generator's output makes."""
        functions = hidden.view(-1, *[len(axis) for axis in axes])  # (H, *size)
        # The output map's bias is the weight of one more function, which is one everywhere.
        functions = torch.cat((functions, torch.ones_like(functions[:1])))
        output = self.generator.output
        weight = torch.cat((output.effective_weight(), output.bias[:, None]), dim=1)
        basis = functions * self._weighting(axes)
        return FactoredKernel(weight.view(self.out_channels, self.in_channels, -1), basis)

    def _weighting(self, axes: Sequence[Tensor]) -> Tensor | float:
        """What the generator's values are multiplied by."""
        return self.sampling_rate_norm

    def crop(self) -> tuple[tuple[int, int], ...]:
        """Per axis the range (start, stop) of samples of the full kernel that are used."""
        return tuple((0, n) for n in self._known_kernel_size())

    def cropped_size(self) -> tuple[int, ...]:
        """The kernel's size per axis after cropping."""
        return tuple(stop - start for start, stop in self.crop())

    def axes(self, ranges: Sequence[tuple[int, int]]) -> list[Tensor]:
        """Positions on [-1, 1] of the samples in `ranges`, one vector per axis."""
        like = next(self.generator.parameters())
        axes = []
        for n, (start, stop) in zip(self._known_kernel_size(), ranges):
            first = -1.0 if n > 1 else 0.0  # a single sample sits at the centre
            line = torch.linspace(first, 1.0, n, device=like.device, dtype=like.dtype)
            axes.append(line[start:stop])
        return axes

    def _kernel(self) -> FactoredKernel:
        """The kernel to convolve with: sampled, or kept from an earlier evaluation."""
        if self._prepared is not None:
            self._sampled, self._prepared = self._prepared, None
            return self._sampled
        keep = self.cache and not self.training and not torch.is_grad_enabled()
        if not (keep and self._is_kept()):
            sampled = self.sample_kernel()
            self._sampled = sampled.keep() if keep else sampled
            self._kept = (Versions(self), self.sampling_rate_norm) if keep else None
        return self._sampled

    def _is_kept(self) -> bool:
        """Whether the kernel at hand is what sampling it anew would give."""
        if self._kept is None:
            return False
        versions, norm = self._kept
        return norm == self.sampling_rate_norm and versions.hold()

    def train(self, mode: bool = True) -> CKConv:
        self._kept = None
        return super().train(mode)

    # ----- its size -----------------------------------------------------------------------------

    def _size_from_input(self, size: Sequence[int]) -> tuple[int, ...]:
        if self.horizon == "full":
            return tuple(2 * n - 1 for n in size)
        return tuple(n if self.dim == 1 else n + 1 - n % 2 for n in size)

    def _known_kernel_size(self) -> tuple[int, ...]:
        if self.kernel_size is None:
            raise RuntimeError(
                f"conv.horizon={self.horizon}: the kernel's size is fixed by the first input or "
                "by a loaded checkpoint, and there has been neither"
            )
        return self.kernel_size

    def _fix_kernel_size(self, size: Sequence[int]) -> None:
        self.kernel_size = tuple(int(n) for n in size)
        self._sampled = self._kept = None
        with torch.no_grad():
            self.extent.copy_(torch.tensor(self.kernel_size))

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
        self._fix_kernel_size(sizes)

    # ----- saving, loading, copying -------------------------------------------------------------

    def _load_from_state_dict(self, state_dict: dict, prefix: str, *args: object) -> None:
        """A loaded checkpoint fixes the size of a kernel whose horizon leaves it open."""
        loaded = state_dict.get(prefix + "extent")
        if loaded is not None and (isinstance(self.horizon, int) or not loaded.any()):
            state_dict = {**state_dict, prefix + "extent": self.extent}
        super()._load_from_state_dict(state_dict, prefix, *args)
        if self.extent.any():
            self._fix_kernel_size(self.extent.tolist())
        self._kept = None

    def __getstate__(self) -> dict:
        """Copies and pickles leave out the sampled kernel: it belongs to the last forward pass."""
        return {**self.__dict__, "_sampled": None, "_prepared": None, "_kept": None}

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
        in_channels, out_channels, dim, kernel, conv: as for `CKConv`. The centres of the
            generator's filters start in +-min(1, 1.667 * mask.init_value), under the mask.
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
        self._mask_config = mask or MaskConfig()
        validate_mask(self._mask_config)
        super().__init__(in_channels, out_channels, dim, kernel, conv)
        cfg = self._mask_config
        self.mask = GaussianMask(dim, cfg.init_value, cfg.threshold) if cfg.use else None
        if self.kernel_size is not None:
            self._widen_fresh_mask()

    def _build_generator(self, kernel: KernelConfig) -> ck.Generator:
        centres = min(1.0, 1.667 * self._mask_config.init_value)
        return ck.build(kernel, self.dim, self.in_channels * self.out_channels, centres)

    @property
    def is_cropped(self) -> bool:
        """Whether the mask decides the kernel's size."""
        return self.mask is not None and self._mask_config.dynamic_cropping

    def crop(self) -> tuple[tuple[int, int], ...]:
        if not self.is_cropped:
            return super().crop()
        return self.mask.crop(self._known_kernel_size())

    def _weighting(self, axes: Sequence[Tensor]) -> Tensor | float:
        if self.mask is None:
            return self.sampling_rate_norm
        return self.mask(axes) * self.sampling_rate_norm

    def _fix_kernel_size(self, size: Sequence[int]) -> None:
        super()._fix_kernel_size(size)
        self._widen_fresh_mask()

    def _widen_fresh_mask(self) -> None:
        """Make an untrained mask that keeps a single sample one sample step wide.

        The mask is 1 at its centre whatever sigma is: a kernel cropped to that sample would leave
        sigma without a gradient for ever. It happens with small images, where a sigma of 0.075 is
        less than half a step.
        """
        mask = getattr(self, "mask", None)
        if mask is None or not self._mask_config.dynamic_cropping:
            return
        fresh = mask.sigma.detach() == mask.sigma.new_tensor(self._mask_config.init_value)
        with torch.no_grad():
            for axis, (start, stop) in enumerate(self.crop()):
                n = self._known_kernel_size()[axis]
                if fresh[axis] and stop - start == 1 and n > 1:
                    mask.sigma[axis] = 2 / (n - 1)
