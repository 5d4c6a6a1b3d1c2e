"""Ways to compute the same network: ours, plain ones, and other people's.

The plain ways replace `ckconv.functional.conv` while they are active, so that all else of a step,
kernel generation included, is the same for all.
"""

from __future__ import annotations

import copy
import importlib.util
import math
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any
from unittest import mock

import torch
import torch.nn.functional as nnf
from torch import Tensor, nn

import ckconv.functional
from benchmarks.workloads import Problem, kernel_sizes, multiplications
from ckconv.functional import FactoredKernel, plan, spectral
from ckconv.models.blocks import CausalConv1d, ResidualBlock
from ckconv.nn import CKConv
from program import device as runtime

_conv = ckconv.functional.conv

# Multiply-adds that a direct convolution is given before it has to be asked for by --slow.
DIRECT_LIMIT = {"cpu": 3e12, "cuda": 3e15}
MEMORY_LIMIT = {"cpu": 4 << 30, "cuda": 64 << 30}  # bytes, for peers that need very much
_AT_ONCE = {"cpu": 1 << 62, "cuda": 1 << 62}  # numbers in a chunk: more than there ever are


@dataclass(frozen=True)
class Backend:
    """One way to compute a step.

    Args:
        name: as it is asked for.
        label: as it is shown.
        conv: stands in for `ckconv.functional.conv`; None: ours.
        frames: False: one transform per sequence, uncut.
        chunks: False: the kernel's whole spectrum at once.
        last_step: False: in evaluation all steps are computed, also where only the last is read.
        ordinary: convolutions are `torch.nn.Conv{1,2}d` of the same kernel size.
        is_direct: it slides kernels, at a cost that grows with their size.
        layout: of images, as `train.channels_last`; empty: as that flag says. The plain ways take
            PyTorch's default.
        package: what has to be installed for it.
    """

    name: str
    label: str
    conv: Callable[..., Tensor] | None = None
    frames: bool = True
    chunks: bool = True
    last_step: bool = False
    ordinary: bool = False
    is_direct: bool = False
    layout: str = ""
    package: str = ""

    @property
    def is_installed(self) -> bool:
        return not self.package or importlib.util.find_spec(self.package) is not None

    @contextmanager
    def active(self) -> Iterator[None]:
        """Every network convolves in this way within the context."""
        with ExitStack() as stack:
            if self.conv is not None:
                stack.enter_context(mock.patch.object(ckconv.functional, "conv", self.conv))
            if not self.frames:
                stack.enter_context(mock.patch.object(spectral, "plan_frames", _whole))
            if not self.chunks:
                stack.enter_context(mock.patch.object(spectral, "_CHUNK", _AT_ONCE))
            if not self.last_step:
                never = mock.patch.object(ResidualBlock, "can_skip_to_last_step", False)
                stack.enter_context(never)
            yield

    def network(self, problem: Problem) -> nn.Module:
        """A copy of the network for this backend: copies share nothing, kept kernels neither."""
        model = copy.deepcopy(problem.model)
        model = with_ordinary_convolutions(model) if self.ordinary else model
        return self.place(model, problem.inputs.device, problem.cfg)

    def place(self, model: nn.Module, device: torch.device, cfg: Any) -> nn.Module:
        """The model on its device, in the layout of this backend."""
        return runtime.place(model, device, self.layout or cfg.train.channels_last)

    def too_much(self, problem: Problem, mode: str) -> str:
        """Why this backend is left out of a workload unless asked for; empty: it is not."""
        device = problem.inputs.device.type
        if self.is_direct:
            count = multiplications(problem, mode)
            if count > DIRECT_LIMIT[device]:
                return f"{count:.1e} multiply-adds"
        if self.package == "fft_conv_pytorch":
            need = _expanded_bytes(problem, mode)
            if need > MEMORY_LIMIT[device]:
                return f"about {need / 2**30:.0f} GiB"
        return ""


def _dense(x: Tensor, kernel: Tensor | FactoredKernel) -> Tensor:
    return kernel.dense().to(x.dtype) if isinstance(kernel, FactoredKernel) else kernel


def _plain(backend: str) -> Callable[..., Tensor]:
    """`conv` with the kernel written out and the backend given."""

    def conv(x, kernel, bias=None, causal=False, _="auto", stride=1, padding="same", **_named):
        return _conv(x, _dense(x, kernel), bias, causal, backend, stride, padding)

    return conv


def _forced_spectral(x, kernel, bias=None, causal=False, backend="auto", stride=1, padding="same"):
    return _conv(x, kernel, bias, causal, "fft", stride, padding)


def _peer_fft_conv(x, kernel, bias=None, causal=False, backend="auto", stride=1, padding="same"):
    from fft_conv_pytorch import fft_conv

    kernel = _dense(x, kernel)
    if padding == "same":
        sides = [(k - 1, 0) if causal else (k // 2, k - 1 - k // 2) for k in kernel.shape[2:]]
        x = nnf.pad(x, [side for axis in reversed(sides) for side in axis])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it indexes by lists, which PyTorch calls outdated
        return fft_conv(x, kernel, bias, stride=stride)


def _whole(x_shape, kernel_shape, pad, functions, device) -> plan.Frames:
    """One transform for the whole input, whatever its length."""
    out = tuple(n + a + b - k + 1 for n, k, (a, b) in zip(x_shape[2:], kernel_shape[2:], pad))
    lengths = plan.transform_lengths(x_shape[2:], kernel_shape[2:], pad)
    return plan.Frames(lengths, tuple(before for before, _ in pad), out)


def with_ordinary_convolutions(model: nn.Module) -> nn.Module:
    """Replace every continuous convolution by an ordinary one of its present kernel size."""
    for name, size in kernel_sizes(model).items():
        parent_name, _, own_name = name.rpartition(".")
        parent = model.get_submodule(parent_name)
        setattr(parent, own_name, _ordinary(model.get_submodule(name), size))
    return model


def _ordinary(layer: CKConv, size: tuple[int, ...]) -> nn.Module:
    bias = layer.bias is not None
    if layer.dim == 1:
        new = CausalConv1d(layer.in_channels, layer.out_channels, size[0], bias=bias)
    else:
        padding = tuple(k // 2 for k in size)
        new = nn.Conv2d(layer.in_channels, layer.out_channels, size, padding=padding, bias=bias)
    return new.to(next(layer.parameters()).device)


def _expanded_bytes(problem: Problem, mode: str) -> float:
    """What fft-conv-pytorch keeps: the kernels' spectra, repeated for every sample of the batch."""
    batch, _, *size = problem.inputs.shape
    layers = dict(problem.model.named_modules())
    per_layer = [
        16.0  # four real products
        * batch
        * math.prod(n + k for n, k in zip(size, kernel))
        / 2
        * layers[name].in_channels
        * layers[name].out_channels
        for name, kernel in problem.sizes.items()
    ]
    return sum(per_layer) if mode == "train" else max(per_layer)


BACKENDS = {
    backend.name: backend
    for backend in (
        Backend("direct", "plain direct", _plain("direct"), is_direct=True, layout="False"),
        Backend("last", "direct, channels-last", _plain("direct"), is_direct=True, layout="True"),
        Backend("fft", "plain FFT", _plain("fft"), layout="False"),
        Backend(
            "fft-conv",
            "fft-conv-pytorch",
            _peer_fft_conv,
            layout="False",
            package="fft_conv_pytorch",
        ),
        Backend("conv", "nn.Conv", ordinary=True, is_direct=True, layout="False"),
        Backend("uncut", "ours, uncut FFT", _forced_spectral, frames=False),
        Backend("whole", "ours, spectrum at once", _forced_spectral, chunks=False),
        Backend("spectral", "ours, FFT always", _forced_spectral),
        Backend("all-steps", "ours, all steps"),
        Backend("ours", "ours", last_step=True),
    )
}
COMPARED = ("direct", "fft", "fft-conv", "conv", "ours")
