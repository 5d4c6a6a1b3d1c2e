"""How far a network sees: the effective receptive field of its layers, from kernels and measured.

Luo et al., "Understanding the effective receptive field in deep convolutional neural networks",
NeurIPS 2016. The energy that an output takes from the inputs around it is, for weights of random
signs, the convolution of the layers' squared kernels: their variances add up. This is the analytic
field; it knows neither nonlinearities nor the shortcuts around residual blocks. The measured one is
the square of the gradient of an output in the middle, of a causal network of the last one, with
respect to the input.

Sizes are those of a uniform kernel as spread out, `sqrt(1 + 12 variance)` samples: a uniform
kernel of 7 samples has the size 7.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

import ckconv.functional as F
from ckconv.errors import UsageError
from ckconv.nn import CKConv, NJet

if TYPE_CHECKING:
    from jaxtyping import Float

_PLAIN = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_POOLS = (nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d, nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d)


@dataclass(frozen=True)
class ReceptiveField:
    """What a layer's outputs see of the network's input, sizes in samples of it by axis.

    kernel: of the layer's own kernel, from its squares.
    largest: what the kernels up to here can reach at most.
    analytic: of all kernels up to here.
    measured: of the squared gradients; None where no gradient reaches the input.
    energy: the squared gradients by position in the input, (*size), with a largest value of 1.
    """

    name: str
    kernel: tuple[float, ...]
    largest: tuple[int, ...]
    analytic: tuple[float, ...]
    measured: tuple[float, ...] | None
    energy: Tensor


@dataclass
class _Step:
    """A layer of a forward pass, in the order in which it was called."""

    name: str
    module: nn.Module
    jump: tuple[float, ...]  # samples of the network's input from one of the layer's to the next
    output: Tensor


def receptive_fields(
    network: nn.Module, inputs: Float[Tensor, "B channels *size"], seed: int = 0
) -> list[ReceptiveField]:
    """The effective receptive fields of a network's convolutions over positions, first to last.

    Args:
        network: is looked at in evaluation mode, and left as it was.
        inputs: what the gradients are averaged over; a few suffice, also of random numbers.
        seed: of the random signs of the outputs' channels.

    Raises:
        UsageError: where the network calls no convolution over positions.
    """
    was_training = network.training
    network.eval()
    try:
        with torch.enable_grad():
            x = inputs.detach().clone().requires_grad_()
            steps = _run(network, x)
            return _fields(steps, x, torch.Generator().manual_seed(seed))
    finally:
        network.train(was_training)


def _run(network: nn.Module, x: Tensor) -> list[_Step]:
    """The convolutions and poolings that a forward pass calls."""
    steps: list[_Step] = []

    def note(name: str, module: nn.Module) -> Any:
        def hook(_: nn.Module, given: tuple[Tensor, ...], output: Tensor) -> None:
            sizes = zip(x.shape[2:], given[0].shape[2:])
            steps.append(_Step(name, module, tuple(n / own for n, own in sizes), output))

        return module.register_forward_hook(hook)

    kinds = (CKConv, NJet, *_PLAIN, *_POOLS)
    hooks = [note(n, m) for n, m in network.named_modules() if isinstance(m, kinds)]
    try:
        with F.using(backend="auto"):  # all steps of a layer, not the last one alone
            network(x)
    finally:
        for hook in hooks:
            hook.remove()
    return steps


def _fields(steps: list[_Step], x: Tensor, generator: torch.Generator) -> list[ReceptiveField]:
    variance, largest = [0.0] * (x.ndim - 2), [1.0] * (x.ndim - 2)
    fields = []
    for step in steps:
        own, extent = _spread(step.module, x.ndim - 2)
        variance = [v + o * j * j for v, o, j in zip(variance, own, step.jump)]
        largest = [n + (e - 1) * j for n, e, j in zip(largest, extent, step.jump)]
        if isinstance(step.module, _POOLS) or max(extent) == 1:
            continue
        energy = _energy(step, x, generator)
        fields.append(
            ReceptiveField(
                step.name,
                tuple(_size(o * j * j) for o, j in zip(own, step.jump)),
                tuple(round(n) for n in largest),
                tuple(map(_size, variance)),
                tuple(map(_size, _variances(energy))) if energy.any() else None,
                energy / energy.max().clamp(min=1e-30),
            )
        )
    if not fields:
        raise UsageError("receptive fields: the network calls no convolution over positions")
    return fields


def _size(variance: float) -> float:
    """The length of a uniform kernel of this variance."""
    return math.sqrt(1 + 12 * variance)


def _spread(module: nn.Module, dim: int) -> tuple[list[float], list[int]]:
    """The variance of a layer's squared kernel and its length, by axis, in its input's samples."""
    if isinstance(module, _POOLS):
        size = module.kernel_size
        sizes = list(size) if isinstance(size, tuple) else [size] * dim
        return [(n * n - 1) / 12 for n in sizes], sizes
    kernel = module.weight if isinstance(module, _PLAIN) else module.conv_kernel
    dilation = getattr(module, "dilation", 1)
    dilations = list(dilation) if isinstance(dilation, tuple) else [dilation] * dim
    variances = _variances(kernel.detach().float().square().sum((0, 1)))
    lengths = [(n - 1) * d + 1 for n, d in zip(kernel.shape[2:], dilations)]
    return [v * d * d for v, d in zip(variances, dilations)], lengths


def _variances(energy: Tensor) -> list[float]:
    """The variance of a distribution over positions along each of its axes, in samples."""
    found = []
    for axis, n in enumerate(energy.shape):
        others = [d for d in range(energy.ndim) if d != axis]
        share = energy.double().sum(others) if others else energy.double()
        share = share / share.sum().clamp(min=1e-300)
        places = torch.arange(n, dtype=torch.float64, device=energy.device)
        found.append((share * (places - (share * places).sum()).square()).sum().item())
    return found


def _energy(step: _Step, x: Tensor, generator: torch.Generator) -> Tensor:
    """The squared gradients of an output of random signs over channels, (*size)."""
    output, module = step.output, step.module
    time = 0 if _is_causal(module) else None
    axis = getattr(module, "causal_axis", time)
    place = tuple(n - 1 if d == axis else n // 2 for d, n in enumerate(output.shape[2:]))
    signs = torch.randint(0, 2, output.shape[:2], generator=generator).to(output) * 2 - 1
    chosen = (output[(slice(None), slice(None), *place)] * signs).sum()
    (gradient,) = torch.autograd.grad(chosen, x, retain_graph=True)
    return gradient.detach().square().sum((0, 1)).cpu()


def _is_causal(module: nn.Module) -> bool:
    """Whether an ordinary convolution of sequences reads the past alone, as those of the networks
    here do, which pad it themselves."""
    return isinstance(module, nn.Conv1d) and module.padding == (0,)
