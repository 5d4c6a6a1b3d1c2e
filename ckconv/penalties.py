"""Penalties on kernels, masks and frequencies, summed over the layers of a network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from ckconv.functional import FactoredKernel
from ckconv.nn.ck import SineLayer
from ckconv.nn.conv import CKConv
from ckconv.nn.mask import Mask

if TYPE_CHECKING:
    from jaxtyping import Float

Kernel = FactoredKernel | Tensor  # as layers sample it: a mix of functions, or written out


def kernel_norm(
    model: nn.Module, kernels: Mapping[nn.Module, Kernel] | None = None
) -> Float[Tensor, ""]:
    """Sum over continuous-kernel layers of the L2 norms (not squared) of kernel and bias.

    `kernels` are those of a forward pass, as `ckconv.nn.recorded_kernels` gives them; a layer that
    is not among them is sampled for it. Takes the place of weight decay: it decays what a layer
    computes with, not the generator that makes it (CKConv paper, section 5). Ordinary
    convolutions and N-Jets have no part in it, as in the published code.

    Raises `ValueError` where gradients are on and the forward pass was without.
    """
    norms = []
    for module in model.modules():
        if isinstance(module, CKConv):
            norms.append(_kernel_norm_of(module, kernels or {}))
            if module.bias is not None:
                norms.append(_norm(module.bias))
    return _total(norms, model)


def _kernel_norm_of(layer: CKConv, kernels: Mapping[nn.Module, Kernel]) -> Tensor:
    kernel = kernels[layer] if layer in kernels else layer.sample_kernel()
    is_trained = any(parameter.requires_grad for parameter in layer.parameters())
    if torch.is_grad_enabled() and is_trained and not kernel.requires_grad:
        raise ValueError(
            "the kernels were recorded in a forward pass without gradients, so that their norm "
            "has none; record a pass with gradients, or leave out `kernels` to sample them anew"
        )
    return kernel.norm() if isinstance(kernel, FactoredKernel) else _norm(kernel)


def mask_norm(model: nn.Module) -> Float[Tensor, ""]:
    """Sum over layers of the L2 norm of the mask's parameters, mean and sigma together."""
    masks = [module for module in model.modules() if isinstance(module, Mask)]
    return _total([torch.cat((mask.mean, mask.sigma)).norm() for mask in masks], model)


def magnitude(model: nn.Module) -> Float[Tensor, ""]:
    """Sum over the sine layers of SIREN generators of the L2 norm of `omega_0 * W`."""
    layers = [module for module in model.modules() if isinstance(module, SineLayer)]
    return _total([(x.omega_0 * x.linear.effective_weight()).norm() for x in layers], model)


def _norm(x: Tensor) -> Tensor:
    """The L2 norm; its gradient at zero, where biases start, is zero."""
    return torch.linalg.vector_norm(x)


def _total(norms: list[Tensor], model: nn.Module) -> Tensor:
    if norms:
        return torch.stack(norms).sum()
    parameter = next(model.parameters(), torch.zeros(()))
    return torch.zeros((), device=parameter.device)
