"""The settings of a fit: what each means, and which go together."""

from __future__ import annotations

from cfg.schema import Wandb

import copy
import math
from dataclasses import dataclass, field, fields
from operator import attrgetter
from typing import Any, TypeVar

from ckconv.config import KernelConfig
from ckconv.errors import UsageError, check_choice
from ckconv.nn.ck import GENERATORS

FUNCTIONS = ("Gaussian", "Constant", "Linear", "Sawtooth", "Sinus", "Sine", "SinusChirp")
FUNCTIONS += ("Random", "Gabor")
IMAGES = ("CameraMan", "Image", "Kodak", "CIFAR10", "CIFAR100", "AlexNet")
MODELS = (*GENERATORS, "SRF", "RandomFourier")
MLP_ACTIVATIONS = ("ReLU", "LeakyReLU", "Swish")
MODEL_OF_ACTIVATION = {"": "MAGNet", "Sine": "SIREN", "Fourier": "Fourier"}
MODEL_OF_ACTIVATION |= {"Gabor": "Gabor", "MAGNet": "MAGNet"}
MODEL_OF_ACTIVATION |= {name: "MLP" for name in MLP_ACTIVATIONS}
NORMS = ("None", "BatchNorm", "LayerNorm")
OPTIMIZERS = ("Adam", "SGD", "RMSprop")
SCHEDULERS = ("none", "cosine", "multistep", "exponential", "plateau")
HIGHEST_ORDER = 20  # beyond it the Hermite polynomials leave the range of 32-bit numbers

# Published names of a generator's settings, and the fields of `KernelConfig` that they are.
OF_KERNEL = {
    "model": "type",
    "kernelnet_activation_function": "activ_function",
    "kernelnet_norm_type": "norm",
    "kernelnet_no_hidden": "no_hidden",
    "no_layers": "no_layers",
    "kernelnet_omega_0": "omega_0",
    "learn_omega_0": "learn_omega_0",
    "bias_init": "bias_init",
    "weight_norm": "weight_norm",
    "input_scale": "input_scale",
    "init_spatial_value": "init_spatial_value",
    "steerable": "steerable",
}
MEANINGS = {  # of settings that mean more here than the programs' flags of the same name
    "kernel.type": f"{', '.join(MODELS)}; unset: by the activation function",
    "kernel.activ_function": f"Sine: SIREN; {', '.join(MLP_ACTIVATIONS)}: MLP; "
    "Fourier, Gabor, MAGNet; unset: MAGNet",
    "kernel.init_spatial_value": "Gabor, MAGNet: centres start uniform in +- this",
    "wandb.project": "W&B project",
    "wandb.entity": "W&B account or team",
    "wandb.dir": "where W&B writes; unset: the folder of the results",
}
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
LEAST = {"no_samples": 2, "no_iterations": 1, "kernelnet_no_hidden": 1, "patience": 1}
LEAST |= dict.fromkeys(("padding", "order", "seed", "function_seed", "fourier_features"), 0)
POSITIVE = ("lr", "sigma", "kernelnet_omega_0", "input_scale", "fourier_scale", "decay_factor")


def option(default: Any, help: str) -> Any:
    """A field with its default and the text that `--help` shows for it."""
    return field(default=default, metadata={"help": help})


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

    kernel: KernelConfig = field(
        default_factory=lambda: KernelConfig(type="", activ_function="", norm="")
    )
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
    wandb: Wandb = field(default_factory=lambda: Wandb(project="ckernel_fitting"))

    @property
    def is_image(self) -> bool:
        return self.function in IMAGES

    @property
    def generator(self) -> str:
        """The generator's name, of `MODELS`."""
        return self.kernel.type or MODEL_OF_ACTIVATION[self.kernel.activ_function]

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


S = TypeVar("S", bound=Settings)


def paths(kind: type[Settings] = Settings) -> dict[str, str]:
    """Where each setting stands in `kind`, by its published name."""
    found = {}
    for own in fields(kind):
        if own.name == "kernel":
            found |= {name: f"kernel.{part}" for name, part in OF_KERNEL.items()}
        elif own.name == "wandb":
            found |= {f"wandb_{part.name}": f"wandb.{part.name}" for part in fields(Wandb)}
        else:
            found[own.name] = own.name
    return found


def flat(settings: Settings) -> dict[str, Any]:
    """All settings by their published names."""
    return {name: attrgetter(path)(settings) for name, path in paths(type(settings)).items()}


def changed(settings: S, **values: Any) -> S:
    """A copy with other values by their published names."""
    where, new = paths(type(settings)), copy.deepcopy(settings)
    for name, value in values.items():
        group, _, own = where[name].rpartition(".")
        setattr(getattr(new, group) if group else new, own, value)
    return new


def unused(settings: Settings, given: set[str]) -> str:
    """One line that names the given settings which this function or generator does not have."""
    of_function = [n for n, users in OF_FUNCTION.items() if settings.function not in users]
    of_model = [n for n, users in OF_MODEL.items() if settings.generator not in users]
    activation = settings.kernel.activ_function
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
    activation, activations = s.kernel.activ_function, tuple(MODEL_OF_ACTIVATION)
    check_choice("function", s.function, FUNCTIONS + IMAGES)
    check_choice("kernelnet_activation_function", activation, activations)
    check_choice("model", s.generator, MODELS)
    if s.generator in ("MLP", "RandomFourier") and activation:
        check_choice("kernelnet_activation_function", activation, MLP_ACTIVATIONS)
    check_choice("kernelnet_norm_type", s.kernel.norm or "None", NORMS)
    check_choice("bias_init", s.kernel.bias_init or "None", ("None", "zero", "uniform"))
    check_choice("optim", s.optim, OPTIMIZERS)
    check_choice("scheduler", s.scheduler or "none", SCHEDULERS)
    check_choice("device", s.device, ("auto", "cuda", "cpu"))
    if s.axes not in (1, 2) or (s.is_image and s.axes == 1):
        raise UsageError(f"dim={s.dim}: give {'2 for an image' if s.is_image else '1 or 2'}")
    _check_numbers(flat(s), least_layers=2 if s.generator in ("MLP", "SIREN", "nSIREN") else 1)
    low, high = s.span
    if not low < high:
        raise UsageError(f"min={low:g} max={high:g}: an empty range; give a min below the max")
    if s.init_sigma < 0:
        raise UsageError(f"init_sigma={s.init_sigma:g}: give a number of samples, or 0")
    if s.order > HIGHEST_ORDER:
        raise UsageError(f"order={s.order}: give a derivative order of at most {HIGHEST_ORDER}")
    if s.kernel.steerable and s.generator == "MAGNet" and s.axes != 2:
        raise UsageError("steerable=True: a rotation needs two axes; give dim=2 or steerable=False")
    decays(s)


def _check_numbers(values: dict[str, Any], least_layers: int) -> None:
    for name, value in values.items():
        if isinstance(value, float) and not math.isfinite(value):
            raise UsageError(f"{name}={value}: give a number")
    for name, least in {**LEAST, "no_layers": least_layers}.items():
        if values[name] is not None and values[name] < least:
            raise UsageError(f"{name}={values[name]}: give a whole number of at least {least}")
    for name in POSITIVE:
        if values[name] <= 0:
            raise UsageError(f"{name}={values[name]:g}: give a number above 0")


def decays(settings: Settings) -> list[int]:
    """The iterations of `decay_steps`, of which a multistep schedule needs one."""
    parts = [part for part in settings.decay_steps.strip("[]").split(",") if part.strip()]
    if not all(part.strip().isdecimal() for part in parts):
        raise UsageError(f"decay_steps={settings.decay_steps}: give iterations, as 5000,8000")
    if settings.scheduler == "multistep" and not parts:
        raise UsageError("scheduler=multistep: give decay_steps, the iterations at which it falls")
    return [int(part) for part in parts]
