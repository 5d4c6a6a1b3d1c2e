"""N-Jet: convolutions in a basis of Gaussian derivatives, the baseline `conv.type=SRF`."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

import ckconv.functional as F
from ckconv.errors import UsageError, check_count
from ckconv.functional.compiling import not_compiled
from ckconv.nn.kernels import KernelInUse
from ckconv.nn.sections import section
from ckconv.nn.sized import FINEST

if TYPE_CHECKING:
    from jaxtyping import Float


MOST = 20  # sigmas of a kernel's half-width, and log2 of a sigma in pixels


def gaussian_derivatives(
    x: Float[Tensor, " K"], sigma: Float[Tensor, " 1"], order: int
) -> Float[Tensor, "orders K"]:
    """`sigma^n d^n/dx^n G(x)` for n = 0..order at the samples x (K,): (order + 1, K).

    G is a Gaussian of height 1 and standard deviation `sigma`, (1,), in the unit of x.
    """
    gaussian = torch.exp(-0.5 * (x / sigma).square())
    # sigma^n d^n/dx^n G = (-1)^n He_n(x / sigma) G, He_n the probabilists' Hermite polynomials
    derivatives = [gaussian]
    hermite = [torch.ones_like(x), x / sigma]
    for n in range(1, order + 1):
        derivatives.append((-1) ** n * hermite[n] * gaussian)
        hermite.append(x / sigma * hermite[n] - n * hermite[n - 1])
    return torch.stack(derivatives)  # (order + 1, K)


def derivative_pairs(order: int) -> list[tuple[int, int]]:
    """The orders (row, column) of the two-dimensional basis, whose sums are at most `order`."""
    return [(i, j) for i in range(order + 1) for j in range(order - i, -1, -1)]


class NJet(nn.Module):
    """A 2-D convolution whose kernel is a learned mix of Gaussian derivatives.

    Pintea et al., 2021 (arXiv 2106.03412). The scale, sigma = 2^scales pixels, is learned, and
    with it the kernel's size, 2 ceil(init_k * sigma + 1/2) + 1.

    Args:
        in_channels: channels of the input (B, in_channels, H, W).
        out_channels: channels of the output, which has the input's size.
        order: highest order of derivative; the basis has (order + 1)(order + 2) / 2 functions.
        init_k: half-width of the kernel, in sigmas.
        init_scale: initial log2 of sigma.
        scale: deployed resolution / trained resolution, by which sigma grows (`kernel.srf.scale`;
            0 means 1).

    Raises:
        UsageError: for numbers that no kernel can have.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        order: int = 4,
        init_k: float = 2.0,
        init_scale: float = 0.0,
        scale: float = 0.0,
    ) -> None:
        super().__init__()
        check_count("in_channels", in_channels)
        check_count("out_channels", out_channels)
        check_count("order", order, 0)
        for name, given, least in (("init_k", init_k, 0), ("init_scale", init_scale, -MOST)):
            if not isinstance(given, int | float) or not least <= given <= MOST:
                raise UsageError(f"{name}={given}: give a number from {least} to {MOST}")
        self.in_channels, self.out_channels = in_channels, out_channels
        self.order, self.init_k = order, init_k
        n_basis = (order + 1) * (order + 2) // 2
        self.alphas = nn.Parameter(torch.empty(n_basis, in_channels, out_channels))
        nn.init.normal_(self.alphas, std=1 / math.sqrt(n_basis * in_channels))
        self.scales = nn.Parameter(torch.full((1,), float(init_scale)))
        self.scale = scale or 1.0
        self.register_buffer("resolution", torch.ones(2, dtype=torch.int64))
        self.in_use = KernelInUse()
        self.set_resolution(self.scale)

    @property
    def resolution_ratio(self) -> float:
        """Present / trained resolution, a part of the state: numerator and denominator."""
        over, under = self.resolution.tolist()
        return over / under

    @resolution_ratio.setter
    @torch.no_grad()
    def resolution_ratio(self, ratio: float) -> None:
        new = Fraction(ratio).limit_denominator(FINEST)
        self.resolution.copy_(torch.tensor([new.numerator, new.denominator]))

    def set_resolution(self, ratio: float) -> None:
        """Deploy at `ratio` = new / present resolution: sigma, in pixels, grows by it."""
        if isinstance(ratio, list | tuple):
            if len(set(ratio)) > 1:
                raise UsageError(f"ratio={ratio}: an N-Jet has one sigma for both axes")
            ratio = ratio[0]
        if ratio <= 0:
            raise UsageError(
                f"kernel.srf.scale={ratio}: give a positive ratio of resolutions, or 0"
            )
        self.resolution_ratio *= ratio

    def _load_from_state_dict(self, state_dict: dict, prefix: str, *args: object) -> None:
        """A deployed checkpoint brings its resolution; over another's stands the given scale."""
        loaded = state_dict.get(prefix + "resolution")
        if loaded is None or torch.equal(loaded[0], loaded[1]):
            self.resolution_ratio = self.scale
            loaded = self.resolution
        state_dict = {**state_dict, prefix + "resolution": loaded}
        super()._load_from_state_dict(state_dict, prefix, *args)
        self.in_use.clear()

    def sigma(self) -> Float[Tensor, " 1"]:
        """The Gaussian's standard deviation in pixels, (1,)."""
        return torch.exp2(self.scales) * (self.resolution[0] / self.resolution[1])

    def cropped_size(self) -> tuple[int, int]:
        """The kernel's present size."""
        size = 2 * math.ceil(self.init_k * self.sigma().item() + 0.5) + 1
        return size, size

    def sample_kernel(self) -> Float[Tensor, "out in k k"]:
        """The kernel, (out, in, k, k)."""
        sigma = self.sigma()
        half = self.cropped_size()[0] // 2
        x = torch.arange(-half, half + 1, device=sigma.device, dtype=sigma.dtype)
        axis = gaussian_derivatives(x, sigma, self.order)  # (order + 1, k)
        axis = axis / axis[0].sum()  # of the Gaussian whose samples sum to one
        basis = torch.stack(
            [axis[i][:, None] * axis[j][None, :] for i, j in derivative_pairs(self.order)]
        )  # (n, k, k)
        return torch.einsum("nio,nxy->oixy", self.alphas, basis)

    @property
    def conv_kernel(self) -> Tensor:
        """The kernel of the last forward pass, (out, in, k, k)."""
        if self.in_use.last is None:
            self.in_use.last = self.sample_kernel()
        return self.in_use.last

    def forward(self, x: Float[Tensor, "B in H W"]) -> Float[Tensor, "B out H W"]:
        """Convolve x (B, in_channels, H, W); the output has the same size.

        Compiled code stops here: it cannot read the kernel's size from sigma.
        """
        return self._convolve(x)

    @not_compiled
    def _convolve(self, x: Tensor) -> Tensor:
        with section("convolution", self):
            with section("generation", self), torch.autocast(x.device.type, enabled=False):
                kernel = self.sample_kernel()
            self.in_use.last = kernel
            return F.conv(x, kernel.to(x.dtype))

    def extra_repr(self) -> str:
        return f"{self.in_channels}, {self.out_channels}, order={self.order}"
