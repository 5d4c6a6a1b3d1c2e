"""The settings of a fit: what each means, and which go together."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from ckconv.errors import UsageError, check_choice

FUNCTIONS = ("Gaussian", "Constant", "Linear", "Sawtooth", "Sinus", "Sine", "SinusChirp")
FUNCTIONS += ("Random", "Gabor")
IMAGES = ("CameraMan", "Image", "Kodak", "CIFAR10", "CIFAR100", "AlexNet")
MODELS = ("MLP", "SIREN", "nSIREN", "Fourier", "Gabor", "MAGNet", "SRF", "RandomFourier")
MLP_ACTIVATIONS = ("ReLU", "LeakyReLU", "Swish")
MODEL_OF_ACTIVATION = {"": "MAGNet", "Sine": "SIREN", "Fourier": "Fourier"}
MODEL_OF_ACTIVATION |= {"Gabor": "Gabor", "MAGNet": "MAGNet"}
MODEL_OF_ACTIVATION |= {name: "MLP" for name in MLP_ACTIVATIONS}
NORMS = ("", "None", "BatchNorm", "LayerNorm")
OPTIMIZERS = ("Adam", "SGD", "RMSprop")
SCHEDULERS = ("none", "cosine", "multistep", "exponential", "plateau")
HIGHEST_ORDER = 20  # beyond it the Hermite polynomials leave the range of 32-bit numbers

# Settings that only some functions have, and those that only some generators have.
OF_FUNCTION = {
    "min": FUNCTIONS,
    "max": FUNCTIONS,
    "freq": ("Sawtooth", "Sinus", "Sine", "Gabor"),
    "sigma": ("Gaussian", "Gabor"),
    "theta": ("Linear", "Sawtooth", "Sinus", "Sine", "Gabor"),
    "function_seed": ("Random",),
    "path": IMAGES[1:],
    "index": IMAGES[2:],
    "gray": IMAGES,
}
OF_MODEL = {
    "kernelnet_no_hidden": tuple(name for name in MODELS if name != "SRF"),
    "no_layers": tuple(name for name in MODELS if name != "SRF"),
    "kernelnet_norm_type": ("MLP", "RandomFourier"),
    "kernelnet_omega_0": ("SIREN", "nSIREN"),
    "learn_omega_0": ("SIREN", "nSIREN"),
    "bias_init": ("SIREN", "nSIREN"),
    "weight_norm": ("MLP", "SIREN", "nSIREN"),
    "input_scale": ("Gabor", "MAGNet"),
    "init_spatial_value": ("Gabor", "MAGNet"),
    "steerable": ("MAGNet",),
    "fourier_scale": ("RandomFourier",),
    "fourier_features": ("RandomFourier",),
    "order": ("SRF",),
    "init_sigma": ("SRF",),
}
POSITIVE = ("lr", "sigma", "kernelnet_omega_0", "input_scale", "fourier_scale", "decay_factor")


def option(default: Any, help: str) -> Any:
    """A field with its default and the text that `--help` shows for it."""
    return dataclasses.field(default=default, metadata={"help": help})


@dataclass
class Settings:
    """What to fit, with which generator, and how."""

    function: str = option("SinusChirp", f"{', '.join(FUNCTIONS)}; images: {', '.join(IMAGES)}")
    dim: int | None = option(None, "axes of the function, 1 or 2; unset: 1, and 2 for images")
    min: float | None = option(None, "where the function starts; unset: -1, the chirp's -15")
    max: float | None = option(None, "where it ends; unset: 1, the chirp's 0")
    no_samples: int | None = option(
        None, "samples per axis; unset: 1000, in 2-D 33; an image's longer side, unset: at most 256"
    )
    padding: int = option(0, "zeros put around the function, per side")
    freq: float = option(16.0, "radians per unit of x: Sawtooth, Sinus, Sine, Gabor")
    sigma: float = option(0.4, "standard deviation / half of the range: Gaussian, Gabor")
    theta: float = option(45.0, "direction of 2-D waves and ramps, degrees from the vertical axis")
    function_seed: int = option(0, "seed of Random's values")
    path: str = option("", "Image: the file; Kodak, CIFAR: the folder; AlexNet: a weights file")
    index: int = option(0, "which image of the folder, or which filter; -1: all filters")
    gray: bool = option(False, "fit an image's luminance instead of its colours")

    model: str = option("", f"{', '.join(MODELS)}; unset: by the activation function")
    kernelnet_activation_function: str = option(
        "", f"Sine: SIREN; {', '.join(MLP_ACTIVATIONS)}: MLP; Fourier, Gabor, MAGNet; unset: MAGNet"
    )
    kernelnet_norm_type: str = option("", "MLP: BatchNorm, LayerNorm, or empty")
    kernelnet_no_hidden: int = option(32, "width of the generator")
    no_layers: int = option(3, "depth: linear maps (MLP, SIREN), hidden linear maps (the others)")
    kernelnet_omega_0: float = option(30.0, "SIREN, nSIREN: frequency factor")
    learn_omega_0: bool = option(False, "SIREN, nSIREN: train omega_0 too")
    bias_init: str = option("None", "SIREN, nSIREN: None (PyTorch's default), zero, uniform")
    weight_norm: bool = option(False, "MLP, SIREN, nSIREN: weight normalization")
    input_scale: float = option(25.6, "Gabor, MAGNet: scale of the initial frequencies")
    init_spatial_value: float = option(1.0, "Gabor, MAGNet: centres start uniform in +- this")
    steerable: bool = option(False, "2-D MAGNet: learn a rotation per filter")
    fourier_scale: float = option(5.0, "RandomFourier: sd of the frequencies, cycles per unit")
    fourier_features: int = option(0, "RandomFourier: number of frequencies; 0: the width")
    order: int = option(9, "SRF (N-Jet): highest order of Gaussian derivative")
    init_sigma: float = option(0.0, "SRF: initial sigma in samples; 0: 1/16 of them")

    optim: str = option("Adam", ", ".join(OPTIMIZERS))
    optim_momentum: float = option(0.9, "SGD: momentum")
    lr: float = option(0.01, "learning rate")
    scheduler: str = option("none", ", ".join(SCHEDULERS))
    decay_steps: str = option("", "multistep: iterations at which the rate falls, as 5000,8000")
    decay_factor: float = option(
        5.0, "multistep, plateau: the rate is divided by this; exponential: by this over the run"
    )
    patience: int = option(1000, "plateau: iterations without a better loss before the rate falls")
    no_iterations: int = option(5000, "optimizer steps")
    seed: int = option(0, "seed of the generator's initial weights")
    device: str = option("auto", "auto, cuda, cpu; cuda without a GPU falls back to the CPU")

    out: str = option("", "folder of the results; unset: outputs/ beside the programs")
    debug: bool = option(False, "do not log to W&B")
    wandb_project: str = option("ckernel_fitting", "W&B project")
    wandb_entity: str = option("", "W&B account or team")
    wandb_dir: str = option("", "where W&B writes; unset: the folder of the results")

    @property
    def is_image(self) -> bool:
        return self.function in IMAGES

    @property
    def generator(self) -> str:
        """The generator's name, of `MODELS`."""
        return self.model or MODEL_OF_ACTIVATION[self.kernelnet_activation_function]

    @property
    def axes(self) -> int:
        """The number of axes of the function."""
        if self.dim is None:
            return 2 if self.is_image else 1
        return self.dim

    @property
    def span(self) -> tuple[float, float]:
        """Where the function starts and ends."""
        low, high = (-15.0, 0.0) if self.function == "SinusChirp" else (-1.0, 1.0)
        return (low if self.min is None else self.min, high if self.max is None else self.max)


def unused(settings: Settings, given: set[str]) -> str:
    """One line that names the given settings which this function or generator does not have."""
    of_function = [n for n, users in OF_FUNCTION.items() if settings.function not in users]
    of_model = [n for n, users in OF_MODEL.items() if settings.generator not in users]
    activation = settings.kernelnet_activation_function
    takes_it = settings.generator == "RandomFourier" and activation in MLP_ACTIVATIONS
    if MODEL_OF_ACTIVATION[activation] != settings.generator and not takes_it:
        of_model.append("kernelnet_activation_function")
    parts = []
    for who, names in ((settings.function, of_function), (settings.generator, of_model)):
        names = [name for name in names if name in given]
        if names:
            parts.append(f"{who} has no {', '.join(names)}")
    return f"note: {'; '.join(parts)}: given, but not used" if parts else ""


def validate(settings: Settings) -> None:
    """Raise `UsageError` for settings that cannot be fitted."""
    s = settings
    check_choice("function", s.function, FUNCTIONS + IMAGES)
    check_choice(
        "kernelnet_activation_function", s.kernelnet_activation_function, tuple(MODEL_OF_ACTIVATION)
    )
    check_choice("model", s.generator, MODELS)
    if s.generator in ("MLP", "RandomFourier") and s.kernelnet_activation_function:
        given = s.kernelnet_activation_function
        check_choice("kernelnet_activation_function", given, MLP_ACTIVATIONS)
    check_choice("kernelnet_norm_type", s.kernelnet_norm_type or "None", NORMS[1:])
    check_choice("bias_init", s.bias_init or "None", ("None", "zero", "uniform"))
    check_choice("optim", s.optim, OPTIMIZERS)
    check_choice("scheduler", s.scheduler or "none", SCHEDULERS)
    check_choice("device", s.device, ("auto", "cuda", "cpu"))
    if s.axes not in (1, 2) or (s.is_image and s.axes == 1):
        raise UsageError(f"dim={s.dim}: give {'2 for an image' if s.is_image else '1 or 2'}")
    low, high = s.span
    if not low < high:
        raise UsageError(f"min={low:g} max={high:g}: an empty range; give a min below the max")
    _check_least(s, 2, "no_samples")
    _check_least(s, 1, "no_iterations", "kernelnet_no_hidden", "patience")
    _check_least(s, 0, "padding", "order", "seed", "function_seed", "fourier_features")
    _check_least(s, 2 if s.generator in ("MLP", "SIREN", "nSIREN") else 1, "no_layers")
    for name in POSITIVE:
        if getattr(s, name) <= 0:
            raise UsageError(f"{name}={getattr(s, name):g}: give a number above 0")
    if s.init_sigma < 0:
        raise UsageError(f"init_sigma={s.init_sigma:g}: give a number of samples, or 0")
    if s.order > HIGHEST_ORDER:
        raise UsageError(f"order={s.order}: give a derivative order of at most {HIGHEST_ORDER}")
    if s.steerable and s.generator == "MAGNet" and s.axes != 2:
        raise UsageError("steerable=True: a rotation needs two axes; give dim=2 or steerable=False")
    decays(s)


def _check_least(settings: Settings, least: int, *names: str) -> None:
    for name in names:
        value = getattr(settings, name)
        if value is not None and value < least:
            raise UsageError(f"{name}={value}: give a whole number of at least {least}")


def decays(settings: Settings) -> list[int]:
    """The iterations of `decay_steps`, of which a multistep schedule needs one."""
    parts = [part for part in settings.decay_steps.strip("[]").split(",") if part.strip()]
    if not all(part.strip().isdecimal() for part in parts):
        raise UsageError(f"decay_steps={settings.decay_steps}: give iterations, as 5000,8000")
    if settings.scheduler == "multistep" and not parts:
        raise UsageError("scheduler=multistep: give decay_steps, the iterations at which it falls")
    return [int(part) for part in parts]
