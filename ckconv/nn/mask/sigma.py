"""The widths that masks are used with, whatever an optimizer does to the parameter."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from jaxtyping import Float

# Under twice this, sigma is bent away from zero. The finest kernels in the papers, of 16,000
# samples, have a step of 1.25e-4: a mask this narrow keeps a single sample.
MIN_SIGMA = 1e-4
MAX_SIGMA = 10.0  # a mask this wide differs from one by a hundredth at most


def bounded_sigma(sigma: Float[Tensor, "*dim"]) -> Float[Tensor, "*dim"]:
    """Sigma where it is ordinary, a positive number close to zero under it, `MAX_SIGMA` over it.

    From 2 m to `MAX_SIGMA`, m = `MIN_SIGMA`, this is the identity. Below it is
    `m + m^2 / (3m - sigma)`, which joins smoothly and stays over m whatever an optimizer does to
    sigma. Above, the gradient is that of `MAX_SIGMA`, so that an enormous sigma still has one.
    """
    m = MIN_SIGMA
    sigma = sigma + (sigma.clamp(max=MAX_SIGMA) - sigma).detach()
    low = sigma.clamp(max=2 * m)  # keeps the branch that is not taken finite
    return torch.where(sigma >= 2 * m, sigma, m + m * m / (3 * m - low))
