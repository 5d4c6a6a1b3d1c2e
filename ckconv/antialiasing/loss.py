"""The anti-aliasing loss: a penalty on what a kernel's frequencies have over Nyquist's."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as nnf
from torch import Tensor, nn

from ckconv import fields
from ckconv.antialiasing.frequencies import frequencies_of, nyquist
from ckconv.config import RegularizeConfig
from ckconv.errors import UsageError
from ckconv.nn.conv import CKConv

if TYPE_CHECKING:
    from jaxtyping import Float

# The published loss offset_elu(x) = 5 (elu(x - 4) + 1), which also pushes down frequencies that
# are a few cycles per unit under Nyquist's.
ELU_OFFSET, ELU_FACTOR = 4.0, 5.0


def regularizer(
    model: nn.Module,
    res: int,
    factor: float,
    target: str = RegularizeConfig.target,
    fn: str = RegularizeConfig.fn,
    method: str = RegularizeConfig.method,
    gauss_stddevs: float = RegularizeConfig.gauss_stddevs,
    res_offset: int = RegularizeConfig.res_offset,
) -> Float[Tensor, ""]:
    """The anti-aliasing loss, a scalar: `factor` times the penalty on frequencies over Nyquist.

    Summed over the continuous-kernel layers of `model` (FlexConv paper, section 3.3).

    Args:
        model: a layer or a network. Ordinary convolutions and N-Jets in it add nothing.
        res: the kernel size to regularize for, in samples; 0: that of each layer as it is now.
        factor: weight of the loss.
        target: `gabor+mask`, or `gabor` to leave the masks out.
        fn: `l2_relu`, the square of what is over Nyquist; `offset_elu`, `5 (elu(x - 4) + 1)`.
        method: `together`: each filter with its share of the mask against its share of Nyquist,
            shares being equal; `summed`: the sum of the filters and the mask against Nyquist.
        gauss_stddevs: standard deviations of a Gaussian's spectrum that are counted.
        res_offset: added to the kernel size.

    Raises:
        UsageError: for a generator without analytic frequencies, and for unknown settings.
    """
    settings = RegularizeConfig(
        res, res_offset, target, fn, method, factor, gauss_stddevs=gauss_stddevs
    )
    fields.check(RegularizeConfig, settings, "kernel.regularize_params.")
    layers = [module for module in model.modules() if isinstance(module, CKConv)]
    # Layers that are alike go through together: a training step launches a few kernels for all.
    groups = _groups(layers, settings).items()
    losses = [_group_loss(group, limit, masked, settings) for (limit, masked, _), group in groups]
    if not losses:
        parameter = next(model.parameters(), torch.zeros(()))
        return torch.zeros((), device=parameter.device)
    return factor * torch.stack(losses).sum()


def _group_loss(
    layers: list[CKConv], limit: float, masked: bool, settings: RegularizeConfig
) -> Tensor:
    """The penalty of alike layers with one Nyquist frequency `limit`, a scalar."""
    own = frequencies_of([layer.generator for layer in layers], settings.gauss_stddevs)
    if settings.method == "summed":
        own = own.sum(1, keepdim=True)  # (layers, filters or 1)
    masks = _mask_frequencies(layers, settings.gauss_stddevs)[:, None] if masked else 0.0
    excess = own + (masks - limit) / own.shape[1]
    return _penalty(excess, settings.fn).sum()


def _penalty(excess: Tensor, fn: str) -> Tensor:
    if fn == "l2_relu":
        return excess.relu().square()
    return ELU_FACTOR * (nnf.elu(excess - ELU_OFFSET) + 1)


def _groups(layers: list[CKConv], settings: RegularizeConfig) -> dict[tuple, list[CKConv]]:
    """Layers by their Nyquist frequency, whether their masks count, their generator's kind.

    The layers of a group are evaluated by the same operations.
    """
    groups: dict[tuple, list[CKConv]] = {}
    for layer in layers:
        limit = nyquist(_regularized_size(layer, settings.res) + settings.res_offset)
        if limit < 0:
            raise UsageError(
                f"kernel.regularize_params.res={settings.res} kernel.regularize_params.res_offset="
                f"{settings.res_offset}: make the kernel size that they add up to at least 1"
            )
        counts_masks = "mask" in settings.target or settings.method == "together+mask"
        masked = counts_masks and layer.mask is not None
        groups.setdefault((limit, masked, layer.generator.kind()), []).append(layer)
    return groups


def _regularized_size(layer: CKConv, res: int) -> int:
    if res:
        return res
    if not layer.kernel_size:
        raise UsageError(
            f"kernel.regularize_params.res=0: with conv.horizon={layer.horizon} the first input "
            "fixes the kernel's size, and there has been none; run the layer once, or give res"
        )
    return min(layer.kernel_size)


def _mask_frequencies(layers: list[CKConv], gauss_stddevs: float) -> Tensor:
    """`mask_frequency` of several layers, (layers,)."""
    narrowest = torch.stack([layer.mask.effective_sigma for layer in layers]).amin(1)
    widths = narrowest.new_tensor([layer.mask.bandwidth(gauss_stddevs) for layer in layers])
    return widths / (2 * math.pi * narrowest)
