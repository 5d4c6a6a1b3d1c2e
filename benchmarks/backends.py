"""Ways to compute the same network: ours, plain ones, and other people's.

They take the place of the convolutions alone while they are active, so that all else of a step,
kernel generation included, is the same for all.
"""

from __future__ import annotations

from cfg.schema import Config

import copy
import importlib.util
import math
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as nnf
from torch import Tensor, nn

import ckconv.functional as F
from benchmarks.workloads import Problem, kernel_sizes, multiplications
from ckconv.models.blocks import CausalConv1d
from ckconv.nn import CKConv
from program import device as runtime

# Multiply-adds that a direct convolution is given before it has to be asked for by --slow: about
# half a minute of two threads.
DIRECT_LIMIT = {"cpu": 1.1e12, "cuda": 3e15}
MEMORY_LIMIT = {"cpu": 4 << 30, "cuda": 64 << 30}  # bytes, for peers that need very much
_AT_ONCE = 1 << 62  # numbers in a chunk: more than there ever are


@dataclass(frozen=True)
class Backend:
    """One way to compute a step.

    Args:
        name: as it is asked for.
        label: as it is shown.
        conv, frames, chunk, tiles: as `ckconv.functional.using` takes them. With a `conv`, all
            steps are computed, also where only the last one is read.
        ordinary: convolutions are `torch.nn.Conv{1,2}d` of the same kernel size.
        is_direct: it slides kernels, at a cost that grows with their size.
        taps: with `ordinary`, another kernel size than the same, per axis.
        layout: of images, as `train.channels_last`; empty: as that flag says. The plain ways take
            PyTorch's default.
        package: what has to be installed for it.
    """

    name: str
    label: str
    conv: str | Callable[..., Tensor] | None = None
    frames: int | None = None
    chunk: int | None = None
    tiles: bool | None = None
    ordinary: bool = False
    taps: int = 0
    is_direct: bool = False
    layout: str = ""
    package: str = ""

    @property
    def is_installed(self) -> bool:
        return not self.package or importlib.util.find_spec(self.package) is not None

    @contextmanager
    def active(self) -> Iterator[None]:
        """Every network convolves in this way within the context."""
        with F.using(self.conv, self.frames, self.chunk, self.tiles):
            yield

    def network(self, problem: Problem) -> nn.Module:
        """A copy of the network for this backend: copies share nothing, kept kernels neither."""
        model = copy.deepcopy(problem.model)
        model = with_ordinary_convolutions(model, self.taps) if self.ordinary else model
        return self.place(model, problem.inputs.device, problem.cfg)

    def place(self, model: nn.Module, device: torch.device, cfg: Config) -> nn.Module:
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


def _plain_fft(x: Tensor, kernel: Tensor, bias: Tensor | None, **how: Any) -> Tensor:
    with F.using(backend="fft"):
        return F.conv(x, kernel, bias, **how)


def _peer_fft_conv(
    x: Tensor, kernel: Tensor, bias: Tensor | None, causal: bool, stride: int, padding: str
) -> Tensor:
    from fft_conv_pytorch import fft_conv

    if padding == "same":
        sides = [(k - 1, 0) if causal else (k // 2, k - 1 - k // 2) for k in kernel.shape[2:]]
        x = nnf.pad(x, [side for axis in reversed(sides) for side in axis])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it indexes by lists, which PyTorch calls outdated
        return fft_conv(x, kernel, bias, stride=stride)


def with_ordinary_convolutions(model: nn.Module, taps: int = 0) -> nn.Module:
    """Replace every continuous convolution by an ordinary one of its kernel size, or of `taps`."""
    for name, size in kernel_sizes(model).items():
        parent_name, _, own_name = name.rpartition(".")
        parent = model.get_submodule(parent_name)
        size = (taps,) * len(size) if taps else size
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
        Backend("direct", "plain direct", "direct", is_direct=True, layout="False"),
        Backend("last", "direct, channels-last", "direct", is_direct=True, layout="True"),
        Backend("fft", "plain FFT", _plain_fft, layout="False"),
        Backend(
            "fft-conv",
            "fft-conv-pytorch",
            _peer_fft_conv,
            layout="False",
            package="fft_conv_pytorch",
        ),
        Backend("conv", "nn.Conv", "auto", ordinary=True, is_direct=True, layout="False"),
        Backend("taps", "3 taps", "auto", ordinary=True, taps=3),
        Backend("no-tiles", "ours, FFT of images", "auto", tiles=False),
        Backend("uncut", "ours, uncut FFT", "fft", frames=0),
        Backend("whole", "ours, spectrum at once", "fft", chunk=_AT_ONCE),
        Backend("spectral", "ours, FFT always", "fft"),
        Backend("all-steps", "ours, all steps", "auto"),
        Backend("ours", "ours"),
    )
}
COMPARED = ("direct", "fft", "fft-conv", "conv", "taps", "ours")
