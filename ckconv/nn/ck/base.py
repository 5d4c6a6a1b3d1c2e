"""What all kernel generators share."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor, nn

from ckconv.config import KernelConfig
from ckconv.errors import check_count

if TYPE_CHECKING:
    from jaxtyping import Float


class PointwiseLinear(nn.Module):
    """The linear map `W x + b`, applied at every position: (in, N) -> (out, N).

    `weight_norm` writes W as `g * v / |v|` with one g and one direction v per output
    (Salimans and Kingma, 2016), under the parameter names `weight_g` and `weight_v`.
    """

    def __init__(self, in_features: int, out_features: int, weight_norm: bool = False) -> None:
        super().__init__()
        check_count("in_features", in_features)
        check_count("out_features", out_features)
        weight = torch.empty(out_features, in_features)
        if weight_norm:
            self.weight_v = nn.Parameter(weight)
            self.weight_g = nn.Parameter(torch.empty(out_features, 1))
        else:
            self.weight = nn.Parameter(weight)
        self.bias = nn.Parameter(torch.empty(out_features))
        self.has_weight_norm = weight_norm
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """PyTorch's default for a 1x1 convolution."""
        bound = 1 / math.sqrt(self.in_features)
        self.init_weight(bound)
        nn.init.uniform_(self.bias, -bound, bound)

    @torch.no_grad()
    def init_weight(self, bound: float) -> None:
        """Draw the weight uniformly from [-bound, bound]."""
        if not self.has_weight_norm:
            self.weight.uniform_(-bound, bound)
            return
        self.weight_v.uniform_(-bound, bound)
        self.weight_g.copy_(self.weight_v.norm(dim=1, keepdim=True))

    def init_bias(self, kind: str | None) -> None:
        """Start the bias as `kernel.bias_init` says: `zero`, `uniform` in [-1, 1], None as is."""
        if kind == "zero":
            nn.init.zeros_(self.bias)
        elif kind == "uniform":
            nn.init.uniform_(self.bias, -1, 1)

    @property
    def in_features(self) -> int:
        return (self.weight_v if self.has_weight_norm else self.weight).shape[1]

    def effective_weight(self) -> Float[Tensor, "out in"]:
        """The matrix W, (out, in); where it is computed, in float32 at least."""
        if not self.has_weight_norm:
            return self.weight
        v = self.weight_v.to(torch.promote_types(self.weight_v.dtype, torch.float32))
        return v * (self.weight_g / v.norm(dim=1, keepdim=True))

    def forward(self, x: Float[Tensor, "in N"] | None = None) -> Tensor:
        """(in, N) -> (out, N), in x's dtype; without x the map itself, [W b], (out, in + 1).

        By a call, so that hooks that make the weights, as those of pruning, are run.
        """
        if x is None:
            return torch.cat((self.effective_weight(), self.bias[:, None]), dim=1)
        weight, bias = self.effective_weight().to(x.dtype), self.bias.to(x.dtype)
        return torch.addmm(bias[:, None], weight, x)  # (out, N)


class Generator(nn.Module):
    """A network from positions to kernel values that ends in a linear map.

    Subclasses compute `hidden`, the functions that `output` mixes into the kernel. That the
    kernel is linear in them is what the frequency-domain convolution makes use of. What others
    need to know of a generator its class says.

    The classes of `GENERATORS` are made by `(dim, out_channels, cfg, centres)`: the axes of the
    kernel, its values per position, the `KernelConfig`, of which each class reads what it has, and
    where filters with centres start, uniform in +- this, instead of `cfg.init_spatial_value`.
    """

    sampled_together: ClassVar[bool] = False
    """Whether several alike may be evaluated as one: nothing is shared between positions."""
    frequency_setting: ClassVar[str | None] = None
    """The field of `KernelConfig` that the initial frequencies grow with, if there is one."""

    is_bounded: ClassVar[bool] = False
    """Whether `highest_frequencies` gives an analytic bound."""

    output: PointwiseLinear

    def __init__(self, dim: int) -> None:
        super().__init__()
        check_count("dim", dim)
        self.dim = dim

    @classmethod
    def check(cls, cfg: KernelConfig) -> None:
        """Raise `UsageError` for settings, each in its range, that this class cannot use."""

    @classmethod
    def highest_frequencies(
        cls, generators: Sequence[Generator], gauss_stddevs: float
    ) -> Float[Tensor, "generators filters"]:
        """The highest frequencies, in cycles per unit, of the filters of each generator.

        (generators, filters), of generators of one kind; their sum bounds a generator's own
        frequency. For classes that are `is_bounded`.
        """
        raise NotImplementedError

    def spread(self, factor: float) -> None:
        """Move the centres of a new generator's filters, if it has any, `factor` times as far."""

    def precede(self, axis: int) -> None:
        """Move a new generator's centres, if its class has them there, to before 1 on `axis`.

        There a causal kernel meets the present.
        """

    preserves_variance: bool = False
    """Whether `scale` is to be called when a new layer's kernel has a size."""

    def scale(self, terms: int) -> None:
        """Scale a new generator's values for a convolution that adds up so many products."""

    def balance(
        self,
        positions: Float[Tensor, "dim N"],
        weighting: Float[Tensor, " N"],
        channels: int,
        step: Float[Tensor, " dim"],
    ) -> None:
        """Fit new weights to a kernel of N masked positions, of so many channels per group.

        `step` is the distance of neighbouring positions, per axis.

        Generators that begin well without do nothing.
        """

    def kind(self) -> tuple:
        """Equal for generators whose hidden functions the same operations compute."""
        shapes = tuple(
            (name, tuple(p.shape), p.dtype, p.device)
            for name, p in self.named_parameters()
            if not name.startswith("output.")
        )
        return type(self), shapes

    def hidden(self, positions: Float[Tensor, "dim N"]) -> Float[Tensor, "H N"]:
        """The hidden functions at N positions: (dim, N) -> (no_hidden, N), in the same dtype.

        A layer gives positions in float32 to parameters of lower precision too: theirs would not
        tell a long kernel's samples apart.
        """
        raise NotImplementedError

    def forward(self, positions: Float[Tensor, "1 dim *size"]) -> Float[Tensor, "1 out *size"]:
        """Kernel values (1, out_channels, *size) at positions (1, dim, *size)."""
        if positions.ndim != self.dim + 2 or positions.shape[:2] != (1, self.dim):
            raise ValueError(
                f"positions have shape {tuple(positions.shape)}; this generator takes "
                f"(1, {self.dim}, *size) with {self.dim} axes of size"
            )
        values = self.output(self.hidden(positions[0].flatten(1)))  # (out, N)
        return values.view(1, -1, *positions.shape[2:])
