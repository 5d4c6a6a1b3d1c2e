"""Settings of a continuous-kernel convolution and of a network, as plain dataclasses.

The fields are the command-line flags `kernel.*`, `conv.*`, `mask.*` and `net.*`, by the same names;
the library, the command line's schema and the networks all use these definitions.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ckconv.errors import UsageError, check_choice

KERNEL_TYPES = ("MLP", "SIREN", "nSIREN", "Fourier", "Gabor", "MAGNet")
CONV_TYPES = ("FlexConv", "CKConv", "Conv", "SRF")

ALIASES = {"ResNet": "FlexNet", "TCN": "FlexTCN"}  # names that published commands use
CIFAR_RESNETS = tuple(f"CIFARResNet{depth}" for depth in (20, 32, 44, 56, 110, 1202))
ORIGINAL_RESNETS = tuple(f"OriginalResnet{depth}" for depth in (10, 18, 34, 50, 101, 152))
NET_TYPES = ("FlexNet", "FlexTCN", *CIFAR_RESNETS, *ORIGINAL_RESNETS)


@dataclass
class RegularizeConfig:
    """Anti-aliasing regularization of a kernel's frequencies (FlexConv paper, section 3.3)."""

    res: int = 0  # kernel size to regularize for, in samples; 0: the horizon
    res_offset: int = 0  # added to `res`
    target: str = "gabor+mask"  # whose frequencies: gabor, gabor+mask
    fn: str = "l2_relu"  # penalty on the excess over Nyquist: l2_relu, offset_elu
    method: str = "together"  # each filter against its share (together) or their sum (summed)
    factor: float = 0.001  # weight of the loss
    gauss_stddevs: float = 2.0  # standard deviations of a Gaussian's spectrum that are counted
    gauss_factor: float = 0.5  # kept for published commands


@dataclass
class SRFConfig:
    """Settings of N-Jet layers (`conv.type=SRF`)."""

    scale: float = 0.0  # target / source resolution; 0: 1


@dataclass
class KernelConfig:
    """A kernel generator: the network that maps positions to kernel values."""

    type: str = "MAGNet"  # MLP, SIREN, nSIREN, Fourier, Gabor, MAGNet
    dim_linear: int | None = None  # accepted and ignored: the data set decides
    no_hidden: int = 32  # width
    no_layers: int = 3  # depth: linear maps (MLP, SIREN), hidden linear maps (the others)
    activ_function: str = "ReLU"  # MLP: ReLU, LeakyReLU, Swish
    norm: str = "BatchNorm"  # MLP: BatchNorm, LayerNorm, or empty
    omega_0: float = 30.0  # SIREN, nSIREN: frequency factor
    learn_omega_0: bool = False  # SIREN, nSIREN: train omega_0 too
    weight_norm: bool = False  # MLP, SIREN, nSIREN: weight normalization
    steerable: bool = False  # 2-D MAGNet: learn a rotation per filter
    init_spatial_value: float = 1.0  # Gabor, MAGNet: centres start uniform in +- this
    bias_init: str | None = None  # SIREN, nSIREN: None (PyTorch's default), zero, uniform
    input_scale: float = 25.6  # Gabor, MAGNet: scale of the initial frequencies
    sampling_rate_norm: float = 1.0  # factor on the sampled kernel
    regularize: bool = False  # anti-aliasing regularization on or off
    regularize_params: RegularizeConfig = field(default_factory=RegularizeConfig)
    srf: SRFConfig = field(default_factory=SRFConfig)


@dataclass
class ConvConfig:
    """The convolution that the generated kernel is used in."""

    type: str = "FlexConv"  # networks only: FlexConv, CKConv, Conv, SRF
    use_fft: str = "auto"  # auto, True, False
    bias: bool = True  # add a bias per output channel
    padding: str = "same"  # same: the output has the input's size; valid: no padding
    stride: int = 1  # step between output samples
    horizon: str = "same"  # largest kernel: an odd number, same, full
    cache: bool = False  # in evaluation keep the sampled kernel until weights or mode change


@dataclass
class MaskConfig:
    """The Gaussian mask of FlexConv."""

    use: bool = True  # False: FlexConv without its mask
    type: str = "gaussian"
    init_value: float = 0.075  # initial sigma, in units of the kernel's [-1, 1]
    temperature: float = 0.0  # kept for published commands
    dynamic_cropping: bool = True  # crop the kernel where the mask is under the threshold
    threshold: float = 0.1  # mask value under which the kernel is dropped


@dataclass
class NetConfig:
    """A network of residual blocks."""

    type: str = "FlexNet"  # FlexNet (ResNet), FlexTCN (TCN), CIFARResNet*, OriginalResnet*
    no_hidden: int = 16  # width
    no_blocks: int = 2  # residual blocks of two convolutions each
    block_width_factors: list[float] = field(default_factory=lambda: [0.0])
    dropout: float = 0.0  # after the first nonlinearity of a block (FlexTCN: after both)
    dropout_in: float = 0.0  # on the network's input
    norm: str = "BatchNorm"  # BatchNorm, LayerNorm
    nonlinearity: str = "ReLU"  # ReLU, LeakyReLU


def validate_kernel(cfg: KernelConfig) -> None:
    """Raise `UsageError` for a kernel configuration that cannot be built."""
    check_choice("kernel.type", cfg.type, KERNEL_TYPES)
    check_choice("kernel.bias_init", cfg.bias_init or "None", ("None", "zero", "uniform"))
    if cfg.type == "MLP":
        check_choice("kernel.activ_function", cfg.activ_function, ("ReLU", "LeakyReLU", "Swish"))
        if cfg.norm not in ("", None, "None"):
            check_choice("kernel.norm", cfg.norm, ("BatchNorm", "LayerNorm"))
    for flag in ("no_hidden", "no_layers"):
        if getattr(cfg, flag) < 1:
            raise UsageError(f"kernel.{flag}={getattr(cfg, flag)}: give a number of at least 1")
    if cfg.type in ("MLP", "SIREN", "nSIREN") and cfg.no_layers < 2:
        raise UsageError(
            f"kernel.no_layers={cfg.no_layers}: a {cfg.type} of one layer is linear; give 2 or more"
        )
    if cfg.omega_0 <= 0:
        raise UsageError(f"kernel.omega_0={cfg.omega_0}: give a positive number")
    params = cfg.regularize_params
    check_choice("kernel.regularize_params.target", params.target, ("gabor", "gabor+mask"))
    check_choice("kernel.regularize_params.fn", params.fn, ("l2_relu", "offset_elu"))
    check_choice("kernel.regularize_params.method", params.method, ("together", "summed"))


def validate_conv(cfg: ConvConfig) -> None:
    """Raise `UsageError` for a convolution that cannot be built."""
    check_choice("conv.type", cfg.type, CONV_TYPES)
    if str(cfg.use_fft).lower() not in ("auto", "true", "false"):
        check_choice("conv.use_fft", cfg.use_fft, ("auto", "True", "False"))
    check_choice("conv.padding", cfg.padding, ("same", "valid"))
    if cfg.stride < 1:
        raise UsageError(f"conv.stride={cfg.stride}: give a number of at least 1")
    parse_horizon(cfg.horizon)


def validate_mask(cfg: MaskConfig) -> None:
    """Raise `UsageError` for a mask that cannot be built."""
    check_choice("mask.type", cfg.type, ("gaussian",))
    if cfg.init_value <= 0:
        raise UsageError(f"mask.init_value={cfg.init_value}: give a positive initial sigma")
    if not 0 < cfg.threshold < 1:
        raise UsageError(f"mask.threshold={cfg.threshold}: give a number between 0 and 1")


def parse_horizon(horizon: str | int) -> int | str:
    """The horizon as an odd number of samples, or as the word `same` or `full`.

    Raises `UsageError` for an even or unreadable one: an even kernel has no centre.
    """
    text = str(horizon).strip()
    if text in ("same", "full"):
        return text
    if not text.isdecimal() or int(text) < 1:
        raise UsageError(f"conv.horizon={horizon}: give an odd number, same or full")
    if int(text) % 2 == 0:
        raise UsageError(
            f"conv.horizon={horizon}: a kernel needs a centre; give an odd number, "
            f"{int(text) - 1} or {int(text) + 1}"
        )
    return int(text)


def net_type(cfg: NetConfig) -> str:
    """The network's own name, also where a published command uses another."""
    return ALIASES.get(cfg.type, cfg.type)


def validate_net(cfg: NetConfig) -> None:
    """Raise `UsageError` for a network that cannot be built."""
    check_choice("net.type", net_type(cfg), NET_TYPES)
    check_choice("net.norm", cfg.norm, ("BatchNorm", "LayerNorm"))
    check_choice("net.nonlinearity", cfg.nonlinearity, ("ReLU", "LeakyReLU"))
    for flag in ("no_hidden", "no_blocks"):
        if getattr(cfg, flag) < 1:
            raise UsageError(f"net.{flag}={getattr(cfg, flag)}: give a number of at least 1")
    for flag in ("dropout", "dropout_in"):
        if not 0 <= getattr(cfg, flag) < 1:
            raise UsageError(f"net.{flag}={getattr(cfg, flag)}: give a number from 0 to below 1")
    block_widths(cfg)


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
        widths += [int(cfg.no_hidden * factor)] * int(count)
    if len(widths) != cfg.no_blocks:
        raise UsageError(
            f"net.block_width_factors={factors}: describes {len(widths)} blocks, but "
            f"net.no_blocks={cfg.no_blocks}; make them equal"
        )
    return widths
