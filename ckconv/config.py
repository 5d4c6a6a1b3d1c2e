"""Settings of a continuous-kernel convolution and of a network, as plain dataclasses.

The fields are the command-line flags `kernel.*`, `conv.*`, `mask.*` and `net.*`, by the same names;
the library, the command line's schema and the networks all use these definitions. A config that
Hydra composed has the fields of these classes but not their methods: check it by the class, as
`KernelConfig.check(cfg.kernel)`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from ckconv import fields
from ckconv.errors import UsageError, check_choice
from ckconv.fields import choice, number  # for the schema of the flags too

LONGEST = 1_000_001  # the largest horizon, in samples
AUTO = "auto"
HORIZONS = ("same", "full")  # in place of a number of samples
WIDEST = 65_536  # channels of a layer, hidden units of a generator


@dataclass
class RegularizeConfig:
    """Anti-aliasing regularization of a kernel's frequencies (FlexConv paper, section 3.3)."""

    res: int = number(0, at_least=0, at_most=LONGEST)  # kernel size in samples; 0: the horizon
    res_offset: int = number(0, at_least=-LONGEST, at_most=LONGEST)  # added to `res`
    target: str = choice("gabor+mask", ("gabor", "gabor+mask"))  # whose frequencies
    fn: str = choice("l2_relu", ("l2_relu", "offset_elu"))  # penalty on the excess over Nyquist
    # each filter against its share (together) or their sum against Nyquist (summed);
    # together+mask: together, with target=gabor+mask
    method: str = choice("together", ("together", "summed", "together+mask"))
    factor: float = number(0.001, at_least=0)  # weight of the loss
    # standard deviations of a Gaussian's spectrum that are counted
    gauss_stddevs: float = number(2.0, at_least=0, at_most=100)
    gauss_factor: float = number(0.5, at_least=0)  # kept for published commands


@dataclass
class SRFConfig:
    """Settings of N-Jet layers (`conv.type=SRF`)."""

    scale: float = number(0.0, at_least=0, at_most=64)  # target / source resolution; 0: 1

    def check_together(self) -> None:
        if 0 < self.scale < 1 / 64:
            raise UsageError(f"kernel.srf.scale={self.scale}: give 0, or a number from 1/64 to 64")


@dataclass
class KernelConfig:
    """A kernel generator: the network that maps positions to kernel values.

    `type` is a name of `ckconv.nn.ck.GENERATORS`; which of the rest it reads, each class there
    says.
    """

    type: str = "MAGNet"
    dim_linear: int | None = number(None)  # accepted and ignored: published commands give it
    no_hidden: int = number(32, at_least=1, at_most=WIDEST)  # width
    # depth: linear maps (MLP, SIREN), hidden linear maps (the others)
    no_layers: int = number(3, at_least=1, at_most=100)
    activ_function: str = "ReLU"  # MLP: its nonlinearity
    norm: str = "BatchNorm"  # MLP: BatchNorm, LayerNorm, or empty
    # SIREN, nSIREN, MAGNet with init=ccnn: frequency factor
    omega_0: float = number(30.0, over=0, at_most=1_000_000)
    learn_omega_0: bool = False  # SIREN, nSIREN: train omega_0 too
    weight_norm: bool = False  # MLP, SIREN, nSIREN: weight normalization
    steerable: bool = False  # 2-D MAGNet: learn a rotation per filter
    # Gabor, MAGNet: centres start uniform in +- this
    init_spatial_value: float = number(1.0, at_least=0, at_most=1000)
    # biases of the linear maps, MLP excepted: None is PyTorch's default
    bias_init: str | None = choice(None, ("None", "zero", "uniform"))
    # SIREN, nSIREN: by SIREN's formula, or as the CKConv code's kernels really started; MAGNet: as
    # CCNN's kernels start, their frequencies by omega_0
    init: str = choice("siren", ("siren", "ckconv", "ccnn"))
    # part of the sampled kernel's values that a training step drops
    weight_dropout: float = number(0.0, at_least=0, below=1)
    # Gabor, MAGNet: scale of the initial frequencies
    input_scale: float = number(25.6, over=0, at_most=1_000_000)
    sampling_rate_norm: float = number(
        1.0, over=0, at_most=1_000_000
    )  # factor on the sampled kernel
    srf: SRFConfig = field(default_factory=SRFConfig)  # networks of N-Jets only

    def check(self) -> None:
        """Raise `UsageError` for numbers and words that no generator takes."""
        fields.check(KernelConfig, self, "kernel.")


@dataclass
class ConvConfig:
    """The convolution that the generated kernel is used in."""

    type: str = "FlexConv"  # networks only: a name of `ckconv.models.blocks.CONVOLUTIONS`
    use_fft: str = "auto"  # auto, True, False
    bias: bool = True  # add a bias per output channel
    # same: the output has the input's size; valid: no padding
    padding: str = choice("same", ("same", "valid"))
    # what is padded with
    padding_mode: str = choice("zeros", ("zeros", "circular", "reflect", "replicate"))
    stride: int = number(1, at_least=1, at_most=LONGEST)  # step between output samples
    dilation: int = number(1, at_least=1, at_most=LONGEST)  # step between the samples it reads
    groups: int = number(1, at_least=1, at_most=WIDEST)  # groups of channels convolved apart
    causal: bool | None = None  # outputs read no later inputs; null: in 1-D
    # where it is causal and has several axes: the axis of time, from 0
    causal_axis: int = number(0, at_least=0, at_most=2)
    horizon: str = "same"  # largest kernel: an odd number, same, full
    cache: bool = False  # in evaluation keep the sampled kernel until weights or mode change

    def check(self) -> None:
        """Raise `UsageError` for a convolution that cannot be built."""
        fields.check(ConvConfig, self, "conv.")

    def check_together(self) -> None:
        if str(self.use_fft).lower() not in ("auto", "true", "false"):
            check_choice("conv.use_fft", self.use_fft, ("auto", "True", "False"))
        parse_horizon(self.horizon)


@dataclass
class MaskConfig:
    """The Gaussian mask of FlexConv."""

    use: bool = True  # False: FlexConv without its mask
    type: str = "gaussian"  # a name of `ckconv.nn.mask.MASKS`
    # initial sigma, in units of the kernel's [-1, 1]; auto: by the kernel's size and the network
    init_value: int | float | str = number(AUTO, over=0, at_most=1000, or_word=AUTO)
    temperature: float = number(0.0, at_least=0)  # kept for published commands
    dynamic_cropping: bool = True  # crop the kernel where the mask is under the threshold
    # mask value under which the kernel is dropped
    threshold: float = number(0.1, over=0, below=1)

    def check(self) -> None:
        """Raise `UsageError` for a mask that cannot be built."""
        fields.check(MaskConfig, self, "mask.")


@dataclass
class NetConfig:
    """A network of residual blocks."""

    type: str = "FlexNet"  # for `models.build_model`: a name of `models.NETWORKS`
    no_hidden: int = number(16, at_least=1, at_most=WIDEST)  # width
    # residual blocks of two convolutions each
    no_blocks: int = number(2, at_least=1, at_most=1000)
    # pairs (factor, number of blocks); [0.0]: all blocks of width `no_hidden`
    block_width_factors: list[float] = number([0.0], at_least=0, at_most=10_000)
    # after the first nonlinearity of a block (FlexTCN: after both)
    dropout: float = number(0.0, at_least=0, below=1)
    dropout_in: float = number(0.0, at_least=0, below=1)  # on the network's input
    norm: str = "BatchNorm"  # a name of `ckconv.models.blocks.NORMS`
    nonlinearity: str = "ReLU"  # a name of `ckconv.models.blocks.NONLINEARITIES`

    def check(self) -> None:
        """Raise `UsageError` for a network that cannot be built."""
        fields.check(NetConfig, self, "net.")

    def check_together(self) -> None:
        block_widths(self)


def time_axis(causal: bool | None, axis: int, dim: int) -> int | None:
    """The axis along which a convolution is causal, None where it is centred.

    From `conv.causal`, where None means in one dimension, and `conv.causal_axis`.
    """
    if causal is None:
        causal = dim == 1
    if not causal and axis:
        raise UsageError(
            f"conv.causal_axis={axis}: this convolution is centred along all axes; give "
            "conv.causal=True too"
        )
    if not causal:
        return None
    if not 0 <= axis < dim:
        raise UsageError(f"conv.causal_axis={axis}: the data has the axes 0 to {dim - 1}")
    return axis


def parse_horizon(horizon: str | int | Sequence[int]) -> int | str | tuple[int, ...]:
    """The horizon as an odd number of samples, or one per axis, or the word `same` or `full`.

    Raises `UsageError` for an even or unreadable one: an even kernel has no centre.
    """
    if isinstance(horizon, tuple | list):
        sizes = tuple(parse_horizon(one) for one in horizon)
        if not sizes or not all(isinstance(size, int) for size in sizes):
            raise UsageError(f"conv.horizon={horizon}: give an odd number for each axis")
        return sizes
    text = str(horizon).strip()
    if text.lower() in HORIZONS:
        check_choice("conv.horizon", text, HORIZONS)
        return text
    is_number = text.isdecimal() and len(text) <= len(str(LONGEST))
    if not is_number or not 1 <= int(text) <= LONGEST:
        raise UsageError(
            f"conv.horizon={horizon}: give an odd number, same or full; the largest is {LONGEST}"
        )
    if int(text) % 2 == 0:
        raise UsageError(
            f"conv.horizon={horizon}: a kernel needs a centre; give an odd number, "
            f"{int(text) - 1} or {int(text) + 1}"
        )
    return int(text)


def block_widths(cfg: NetConfig) -> list[int]:
    """The number of channels of each residual block, from `net.block_width_factors`.

    The factors come in pairs (factor, number of blocks): `[1.0, 2, 1.5, 3, 2.0, 2]` describes
    seven blocks. `[0.0]` gives every block the width `net.no_hidden`. Raises `UsageError` where
    the pairs do not add up to `net.no_blocks`.
    """
    factors = list(cfg.block_width_factors)
    if factors in ([], [0.0]):
        return [cfg.no_hidden] * cfg.no_blocks
    if len(factors) % 2:
        raise UsageError(
            f"net.block_width_factors={factors}: give pairs (factor, number of blocks), or [0.0]"
        )
    widths = []
    for factor, count in zip(factors[::2], factors[1::2]):
        if count != int(count) or count < 1 or factor <= 0:
            raise UsageError(
                f"net.block_width_factors={factors}: ({factor}, {count}) is no pair of a positive "
                "factor and a whole number of blocks"
            )
        if not 1 <= cfg.no_hidden * factor <= WIDEST:
            raise UsageError(
                f"net.block_width_factors={factors}: net.no_hidden={cfg.no_hidden} times {factor} "
                f"is no width from 1 to {WIDEST}"
            )
        widths += [int(cfg.no_hidden * factor)] * int(count)
    if len(widths) != cfg.no_blocks:
        raise UsageError(
            f"net.block_width_factors={factors}: describes {len(widths)} blocks, but "
            f"net.no_blocks={cfg.no_blocks}; make them equal"
        )
    return widths
