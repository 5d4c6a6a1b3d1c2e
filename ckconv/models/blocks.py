"""What the networks are made of: convolutions by name, norms, residual blocks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from typing import TYPE_CHECKING

from torch import Tensor, nn

from ckconv.config import AUTO, ConvConfig, KernelConfig, MaskConfig, NetConfig, parse_horizon
from ckconv.errors import UsageError, pick
from ckconv.models.dropout import Dropout
from ckconv.models.padding import normalize, without_padding
from ckconv.nn import CKConv, FlexConv, NJet, SepFlexConv, conv_at_times, sample_together
from ckconv.nn.mask import MASKS
from ckconv.nn.parts import Settings

if TYPE_CHECKING:
    from jaxtyping import Bool, Float

_BATCH_NORM = {1: nn.BatchNorm1d, 2: nn.BatchNorm2d, 3: nn.BatchNorm3d}
_CONV = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}

ConvFactory = Callable[[int, int], nn.Module]

NONLINEARITIES = {"ReLU": nn.ReLU, "LeakyReLU": nn.LeakyReLU}
NORMS: dict[str, Callable[[int, int], nn.Module]] = {  # (channels, dim) -> norm
    "BatchNorm": lambda channels, dim: _BATCH_NORM[dim](channels),
    # over channels and positions: a GroupNorm of one group
    "LayerNorm": lambda channels, dim: nn.GroupNorm(1, channels, eps=1e-12),
}


class CausalConv1d(nn.Conv1d):
    """An ordinary 1-D convolution that reads the present and the past only."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, bias: bool = True):
        super().__init__(in_channels, out_channels, kernel_size, bias=bias)

    def forward(self, x: Float[Tensor, "B channels L"]) -> Float[Tensor, "B out L"]:
        past = self.kernel_size[0] - 1
        return super().forward(nn.functional.pad(x, (past, 0)))  # (B, C, L)


def conv_factory(
    dim: int,
    kernel: KernelConfig | None = None,
    conv: ConvConfig | None = None,
    mask: MaskConfig | None = None,
    depth: int = 1,
) -> ConvFactory:
    """A function (in_channels, out_channels) -> layer, for the `depth` layers of a network.

    With `mask.init_value=auto` the masks of a network of sequences, which reads their last step,
    start so wide that its layers together see twice the sequence.

    Raises `UsageError` for settings that residual networks cannot be built with.
    """
    kernel, conv, mask = kernel or KernelConfig(), conv or ConvConfig(), mask or MaskConfig()
    if conv.padding != "same" or conv.stride != 1:
        raise UsageError(
            f"conv.padding={conv.padding} conv.stride={conv.stride}: the residual blocks keep the "
            "resolution; use conv.padding=same conv.stride=1"
        )
    if dim == 1 and mask.init_value == AUTO:
        reach = pick("mask.type", mask.type, MASKS).reach(mask.threshold)
        settings = {field.name: getattr(mask, field.name) for field in fields(MaskConfig)}
        mask = MaskConfig(**settings | {"init_value": min(1.0, 4 / (reach * depth))})
    return pick("conv.type", conv.type, CONVOLUTIONS)(dim, kernel, conv, mask)


def _check_is_plain(conv: ConvConfig) -> None:
    """Raise `UsageError` for settings that only sampled kernels have."""
    for name in ("padding_mode", "dilation", "groups", "causal"):
        given = getattr(conv, name)
        if given != getattr(ConvConfig, name):
            raise UsageError(
                f"conv.{name}={given}: not with conv.type={conv.type}; use FlexConv, SepFlexConv "
                f"or CKConv, or leave out conv.{name}"
            )


def _njet(dim: int, kernel: KernelConfig, conv: ConvConfig, mask: MaskConfig) -> ConvFactory:
    _check_is_plain(conv)
    if dim != 2:
        raise UsageError("conv.type=SRF: N-Jet layers are for images; use FlexConv or CKConv")
    return lambda a, b: NJet(a, b, scale=kernel.srf.scale)


def _plain_conv(dim: int, kernel: KernelConfig, conv: ConvConfig, mask: MaskConfig) -> ConvFactory:
    _check_is_plain(conv)
    size = parse_horizon(conv.horizon)
    if not isinstance(size, int):
        raise UsageError(
            f"conv.type=Conv conv.horizon={size}: an ordinary convolution needs its kernel size; "
            "give an odd number, such as conv.horizon=3"
        )
    if dim == 1:
        return lambda a, b: CausalConv1d(a, b, size, bias=conv.bias)
    return lambda a, b: _CONV[dim](a, b, size, padding=size // 2, bias=conv.bias)


def _generated(
    kind: type[CKConv], dim: int, kernel: KernelConfig, conv: ConvConfig, mask: MaskConfig | None
) -> ConvFactory:
    settings = Settings.of(kernel, conv, mask)  # looked at here, once for all layers
    return lambda a, b: kind(a, b, dim, settings)


# By their names in `conv.type`: (dim, kernel, conv, mask) -> (in_channels, out_channels) -> layer
CONVOLUTIONS: dict[str, Callable[..., ConvFactory]] = {
    "FlexConv": lambda *parts: _generated(FlexConv, *parts),
    "SepFlexConv": lambda *parts: _generated(SepFlexConv, *parts),
    "CKConv": lambda dim, kernel, conv, mask: _generated(CKConv, dim, kernel, conv, None),
    "Conv": _plain_conv,
    "SRF": _njet,
}


def make_norm(name: str, channels: int, dim: int) -> nn.Module:
    """The norm of `net.norm`, of (B, channels, *size)."""
    return pick("net.norm", name, NORMS)(channels, dim)


def make_nonlinearity(name: str) -> nn.Module:
    """The nonlinearity of `net.nonlinearity`."""
    return pick("net.nonlinearity", name, NONLINEARITIES)()


class ResidualBlock(nn.Module):
    """conv, norm, nonlinearity, dropout, conv, norm; plus the shortcut; nonlinearity.

    (B, in_channels, *size) -> (B, out_channels, *size). The shortcut is a 1x1 convolution where
    the width changes. With `tcn`, a nonlinearity and dropout follow the second convolution too,
    as in temporal convolutional networks (Bai et al., 2018).
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        dim: int,
        conv: ConvFactory,
        net: NetConfig,
        tcn: bool = False,
    ) -> None:
        super().__init__()
        self.conv1 = conv(in_channels, out_channels)
        self.norm1 = make_norm(net.norm, out_channels, dim)
        self.conv2 = conv(out_channels, out_channels)
        self.norm2 = make_norm(net.norm, out_channels, dim)
        self.nonlinearity = make_nonlinearity(net.nonlinearity)
        self.dropout = Dropout(net.dropout)
        self.tcn = tcn
        self.shortcut = nn.Identity()
        if in_channels != out_channels:
            self.shortcut = _CONV[dim](in_channels, out_channels, 1)

    def forward(
        self,
        x: Float[Tensor, "B channels *size"],
        last_step: bool = False,
        own: Bool[Tensor, "B 1 L"] | None = None,
        times: Float[Tensor, "B L"] | None = None,
    ) -> Float[Tensor, "B out *steps"]:
        """(B, in, *size) -> (B, out, *size); with `last_step` (B, in, L) -> (B, out, 1).

        `own` (B, 1, L) says which steps are not padding, `times` (B, L) when the samples are.
        """
        x = without_padding(x, own)
        h = normalize(self.norm1, convolved(self.conv1, x, times), own)
        h = self.dropout(self.nonlinearity(h))  # (B, out, *size)
        if last_step:
            h, x = convolved(self.conv2, h, times, last_step=True), x[..., -1:]
        else:
            h = convolved(self.conv2, without_padding(h, own), times)
        h = normalize(self.norm2, h, own)
        if self.tcn:
            h = self.dropout(self.nonlinearity(h))
        return self.nonlinearity(h + self.shortcut(x))

    @property
    def can_skip_to_last_step(self) -> bool:
        """Whether one step of the output can be had without the others.

        Not in training, where BatchNorm takes its statistics over all steps, as LayerNorm always
        does.
        """
        return (
            not self.training
            and isinstance(self.norm2, nn.BatchNorm1d)
            and isinstance(self.conv2, CKConv)
        )


def convolved(
    conv: nn.Module,
    x: Float[Tensor, "B channels *size"],
    times: Float[Tensor, "B L"] | None,
    last_step: bool = False,
) -> Float[Tensor, "B out *steps"]:
    """`conv` of x (B, C, *size), at the samples' `times` (B, L) where there are any.

    With `last_step` the last step alone. Raises `UsageError` for a convolution at times whose
    kernel is not continuous.
    """
    if times is None:
        return conv.last_step(x) if last_step else conv(x)
    if not isinstance(conv, CKConv):
        raise UsageError(
            f"conv.type: a {type(conv).__name__} knows samples one step apart only; with time "
            "stamps use conv.type=FlexConv or conv.type=CKConv"
        )
    return conv_at_times(conv, x, times, last_step)


def run_blocks(
    blocks: nn.Sequential,
    x: Float[Tensor, "B channels *size"],
    only_last_step: bool,
    own: Bool[Tensor, "B 1 L"] | None = None,
    times: Float[Tensor, "B L"] | None = None,
) -> Float[Tensor, "B out *steps"]:
    """Run residual blocks; where only the last step is read, spare the last convolution the rest.

    (B, C, *size) -> (B, out, *size), or (B, out, 1 or L) with `only_last_step`. Not where
    sequences end at steps of their `own`, (B, 1, L).
    """
    *first, last = blocks
    for block in first:
        x = block(x, own=own, times=times)
    skips = only_last_step and own is None and last.can_skip_to_last_step
    return last(x, last_step=skips, own=own, times=times)


def sample_kernels(model: nn.Module, x: Tensor, times: Tensor | None = None) -> None:
    """Before a training step on a GPU, sample the kernels of all layers at once."""
    if x.is_cuda and model.training and times is None:
        sample_together([module for module in model.modules() if isinstance(module, CKConv)])


def set_resolution(model: nn.Module, ratio: float | tuple[float, ...]) -> None:
    """Deploy every continuous-kernel layer of `model` at `ratio` = new / present resolution.

    `ratio` is one number, or one per axis. No layer is rebuilt and no weight changes: kernels
    are sampled more finely or more coarsely over the same span and scaled by 1 / ratio per axis.
    Ordinary convolutions have no resolution and stay as they are.
    """
    for module in model.modules():
        if isinstance(module, CKConv | NJet):
            module.set_resolution(ratio)
