"""Multi-layer perceptrons as kernel generators."""

from __future__ import annotations

from torch import Tensor, nn

from ckconv.nn.ck.base import Generator, PointwiseLinear

ACTIVATIONS = {"ReLU": nn.ReLU, "LeakyReLU": nn.LeakyReLU, "Swish": nn.SiLU}


class _Norm(nn.Module):
    """BatchNorm over positions, or LayerNorm over hidden units and positions, of (H, N)."""

    def __init__(self, name: str, features: int) -> None:
        super().__init__()
        if name == "BatchNorm":
            self.norm = nn.BatchNorm1d(features)
        else:
            self.norm = nn.GroupNorm(1, features, eps=1e-12)

    def forward(self, x: Tensor) -> Tensor:
        if isinstance(self.norm, nn.BatchNorm1d) and x.shape[1] == 1:
            # A kernel cropped to one sample has no variance: use the running statistics.
            n = self.norm
            stats = (n.running_mean, n.running_var, n.weight, n.bias)
            return nn.functional.batch_norm(x[None], *stats, eps=n.eps)[0]
        return self.norm(x[None])[0]  # (H, N)


class MLP(Generator):
    """A perceptron of `no_layers` linear maps with a pointwise nonlinearity in between.

    CKConv paper, section 4.2. `activation` is ReLU, LeakyReLU or Swish; `norm` is BatchNorm,
    LayerNorm or empty. Weights start as PyTorch's default, biases at zero.
    """

    def __init__(
        self,
        dim: int,
        out_channels: int,
        no_hidden: int = 32,
        no_layers: int = 3,
        activation: str = "ReLU",
        norm: str | None = "BatchNorm",
        weight_norm: bool = False,
    ) -> None:
        super().__init__(dim)
        widths = [dim] + [no_hidden] * (no_layers - 1)
        self.linears = nn.ModuleList(
            PointwiseLinear(a, b, weight_norm) for a, b in zip(widths[:-1], widths[1:])
        )
        use_norm = norm not in ("", None, "None")
        self.norms = nn.ModuleList(_Norm(norm, no_hidden) for _ in self.linears if use_norm)
        self.activation = ACTIVATIONS[activation]()
        self.output = PointwiseLinear(no_hidden, out_channels, weight_norm)
        for linear in (*self.linears, self.output):
            nn.init.zeros_(linear.bias)

    def hidden(self, positions: Tensor) -> Tensor:
        h = positions
        for index, linear in enumerate(self.linears):
            h = linear(h)  # (H, N)
            if self.norms:
                h = self.norms[index](h)
            h = self.activation(h)
        return h
