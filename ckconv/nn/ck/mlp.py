"""Multi-layer perceptrons as kernel generators."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn

from ckconv.config import KernelConfig
from ckconv.errors import UsageError, check_choice, pick
from ckconv.nn.ck.base import Generator, PointwiseLinear

if TYPE_CHECKING:
    from jaxtyping import Float

ACTIVATIONS = {"ReLU": nn.ReLU, "LeakyReLU": nn.LeakyReLU, "Swish": nn.SiLU}
NO_NORM = ("", "None", None)


class BatchNorm(nn.Module):
    """BatchNorm over positions, of (H, N)."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(features)

    def forward(self, x: Tensor) -> Tensor:
        n = self.norm
        own = x[None].to(n.weight.dtype)  # PyTorch's norms take no other
        if x.shape[1] == 1:
            # A kernel cropped to one sample has no variance: use the running statistics.
            stats = (n.running_mean, n.running_var, n.weight, n.bias)
            return nn.functional.batch_norm(own, *stats, eps=n.eps)[0].to(x.dtype)
        return n(own)[0].to(x.dtype)  # (H, N)


class LayerNorm(nn.Module):
    """LayerNorm over hidden units and positions, of (H, N)."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(1, features, eps=1e-12)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(x[None].to(self.norm.weight.dtype))[0].to(x.dtype)  # (H, N)


NORMS = {"BatchNorm": BatchNorm, "LayerNorm": LayerNorm}


def check_depth(cfg: KernelConfig) -> None:
    """Raise `UsageError` for a perceptron that would be a linear map."""
    if cfg.no_layers < 2:
        raise UsageError(
            f"kernel.no_layers={cfg.no_layers}: a {cfg.type} of one layer is linear; give 2 or more"
        )


class MLP(Generator):
    """A perceptron of `no_layers` linear maps with a pointwise nonlinearity in between.

    CKConv paper, section 4.2. `activ_function` is ReLU, LeakyReLU or Swish; `norm` is BatchNorm,
    LayerNorm or empty. Weights start as PyTorch's default, biases at zero.
    """

    def __init__(
        self,
        dim: int,
        out_channels: int,
        cfg: KernelConfig | None = None,
        centres: float | None = None,
    ) -> None:
        super().__init__(dim)
        cfg = cfg or KernelConfig()
        widths = [dim] + [cfg.no_hidden] * (cfg.no_layers - 1)
        self.linears = nn.ModuleList(
            PointwiseLinear(a, b, cfg.weight_norm) for a, b in zip(widths[:-1], widths[1:])
        )
        self.norms = nn.ModuleList()
        if cfg.norm not in NO_NORM:
            norm = pick("kernel.norm", cfg.norm, NORMS)
            self.norms.extend(norm(cfg.no_hidden) for _ in self.linears)
        self.activation = pick("kernel.activ_function", cfg.activ_function, ACTIVATIONS)()
        self.output = PointwiseLinear(cfg.no_hidden, out_channels, cfg.weight_norm)
        for linear in (*self.linears, self.output):
            nn.init.zeros_(linear.bias)

    @classmethod
    def check(cls, cfg: KernelConfig) -> None:
        check_depth(cfg)
        check_choice("kernel.activ_function", cfg.activ_function, ACTIVATIONS)
        if cfg.norm not in NO_NORM:
            check_choice("kernel.norm", cfg.norm, NORMS)

    def hidden(self, positions: Float[Tensor, "dim N"]) -> Float[Tensor, "H N"]:
        h = positions
        for index, linear in enumerate(self.linears):
            h = linear(h)  # (H, N)
            if self.norms:
                h = self.norms[index](h)
            h = self.activation(h)
        return h


GENERATORS = {"MLP": MLP}
