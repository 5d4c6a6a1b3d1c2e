"""Networks on sequences that bring the times of their samples with them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn

if TYPE_CHECKING:
    from jaxtyping import Float, Int


class Timed(nn.Module):
    """A network whose input's last channel holds the times of the samples.

    (B, in_channels + 1, L) -> whatever `network`, a FlexNet or FlexTCN of in_channels, makes of
    the other channels at those times. So a batch stays one tensor on its way through a training
    loop.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(
        self, x: Float[Tensor, "B channels L"], lengths: Int[Tensor, " B"] | None = None
    ) -> Float[Tensor, "B out *steps"]:
        padded = {} if lengths is None else {"lengths": lengths}
        return self.network(x[:, :-1], times=x[:, -1], **padded)
