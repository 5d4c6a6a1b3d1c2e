"""The settings of a fit: what each means, and which go together."""

from __future__ import annotations

from cfg.schema import Wandb

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any, TypeVar

from ckconv import fields
from ckconv.config import KernelConfig
from ckconv.errors import UsageError, check_choice
from ckconv.nn import ck

FUNCTIONS = ("Gaussian", "Constant", "Linear", "Sawtooth", "Sinus", "Sine", "SinusChirp")
FUNCTIONS += ("Random", "Gabor")
IMAGES = ("CameraMan", "Image", "Kodak", "CIFAR10", "CIFAR100", "AlexNet")
MODELS = (*ck.GENERATORS, "SRF", "RandomFourier")
MLP_ACTIVATIONS = ("ReLU", "LeakyReLU", "Swish")
MODEL_OF_ACTIVATION = {"": "MAGNet", "Sine": "SIREN", "Fourier": "Fourier"}
MODEL_OF_ACTIVATION |= {"Gabor": "Gabor", "MAGNet": "MAGNet"}
MODEL_OF_ACTIVATION |= {name: "MLP" for name in MLP_ACTIVATIONS}
OF_ACTIVATION = ("MLP", "RandomFourier")  # generators that have one to choose
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


def option(default: Any, help: str, choices: Iterable[str] = (), **ends: float) -> Any:
    """A field with its default, the text that `--help` shows for it, and what it may be."""
    allowed: Mapping[str, object] = {}
    if choices:
        allowed = fields.choice(default, choices).metadata
    elif ends or isinstance(default, float):
        allowed = fields.number(default, **ends).metadata
    return field(default=default, metadata={"help": help, **allowed})


@dataclass
class Settings:
    """What to fit, with which generator, and how."""

    function: str = option("SinusChirp", f"{', '.join(FUNCTIONS)}; images: {', '.join(IMAGES)}")
    dim: int | None = option(None, "axes of the function, 1 or 2; unset: 1, and 2 for images")
    min: float | None = option(
        None,
        "where the function starts; unset: -1, the chirp's -15",
        at_least=-1_000_000,
        at_most=1_000_000,
    )
    max: float | None = option(
        None, "where it ends; unset: 1, the chirp's 0", at_least=-1_000_000, at_most=1_000_000
    )
    no_samples: int | None = option(
        None,
        "samples per axis; unset: 1000, in 2-D 33; an image's longer side, unset: at most 256",
        at_least=2,
    )
    padding: int = option(0, "zeros put around the function, per side", at_least=0)
    freq: float = option(16.0, "radians per unit of x: Sawtooth, Sinus, Sine, Gabor")
    sigma: float = option(0.4, "standard deviation / half of the range: Gaussian, Gabor", over=0)
    theta: float = option(45.0, "direction of 2-D waves and ramps, degrees from the vertical axis")
    function_seed: int = option(0, "seed of Random's values", at_least=0)
    path: str = option("", "Image: the file; Kodak, CIFAR: the folder; AlexNet: a weights file")
    index: int = option(0, "which image of the folder, or which filter; -1: all filters")
    gray: bool = option(False, "fit an image's luminance instead of its colours")

    kernel: KernelConfig = field(
        default_factory=lambda: KernelConfig(type="", activ_function="", norm="")
    )
    fourier_scale: float = option(
        5.0, "RandomFourier: sd of the frequencies, cycles per unit", over=0
    )
    fourier_features: int = option(
        0, "RandomFourier: number of frequencies; 0: the width", at_least=0
    )
    order: int = option(
        9, "SRF (N-Jet): highest order of Gaussian derivative", at_least=0, at_most=HIGHEST_ORDER
    )
    init_sigma: float = option(0.0, "SRF: initial sigma in samples; 0: 1/16 of them", at_least=0)

    optim: str = option("Adam", ", ".join(OPTIMIZERS), OPTIMIZERS)
    optim_momentum: float = option(0.9, "SGD: momentum", at_least=0, below=1)
    lr: float = option(0.01, "learning rate", over=0)
    scheduler: str = option("none", ", ".join(SCHEDULERS), (*SCHEDULERS, "None"))
    decay_steps: str = option("", "multistep: iterations at which the rate falls, as 5000,8000")
    decay_factor: float = option(
        5.0,
        "multistep, plateau: the rate is divided by this; exponential: by this over the run",
        over=0,
    )
    patience: int = option(
        1000, "plateau: iterations without a better loss before the rate falls", at_least=1
    )
    no_iterations: int = option(5000, "optimizer steps", at_least=1)
    seed: int = option(0, "seed of the generator's initial weights", at_least=0)
    device: str = option(
        "auto", "auto, cuda, cpu; cuda without a GPU falls back to the CPU", ("auto", "cuda", "cpu")
    )

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
    def built(self) -> KernelConfig:
        """The generator's settings, with the names that are left open."""
        activation = self.kernel.activ_function if self.generator in OF_ACTIVATION else ""
        activation = activation or KernelConfig.activ_function
        return dataclasses.replace(self.kernel, type=self.generator, activ_function=activation)

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
    for own in dataclasses.fields(kind):
        if own.name == "kernel":
            found |= {name: f"kernel.{part}" for name, part in OF_KERNEL.items()}
        elif own.name == "wandb":
            parts = dataclasses.fields(Wandb)
            found |= {f"wandb_{part.name}": f"wandb.{part.name}" for part in parts}
        else:
            found[own.name] = own.name
    return found


def flat(settings: Settings) -> dict[str, Any]:
    """All settings by their published names."""
    return {name: attrgetter(path)(settings) for name, path in paths(type(settings)).items()}


def changed(settings: S, **values: Any) -> S:
    """A copy with other values by their published names."""
    where = paths(type(settings))
    groups: dict[str, dict[str, Any]] = {"": {}, "kernel": {}, "wandb": {}}
    for name, value in values.items():
        group, _, own = where[name].rpartition(".")
        groups[group][own] = value
    own = groups.pop("")
    parts = {n: dataclasses.replace(getattr(settings, n), **new) for n, new in groups.items()}
    return dataclasses.replace(settings, **own, **parts)


def unused(settings: Settings, given: set[str]) -> str:
    """One line that names the given settings which this function or generator does not have."""
    of_function = [n for n, users in OF_FUNCTION.items() if settings.function not in users]
    of_model = [n for n, users in OF_MODEL.items() if settings.generator not in users]
    activation = settings.kernel.activ_function
    takes_it = settings.generator in OF_ACTIVATION and activation in MLP_ACTIVATIONS
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
    if s.generator in OF_ACTIVATION and activation:
        check_choice("kernelnet_activation_function", activation, MLP_ACTIVATIONS)
    check_choice("kernelnet_norm_type", s.kernel.norm or "None", NORMS)
    fields.check(type(s), s)
    (ck.check if s.generator in ck.GENERATORS else KernelConfig.check)(s.built)
    if s.axes not in (1, 2) or (s.is_image and s.axes == 1):
        raise UsageError(f"dim={s.dim}: give {'2 for an image' if s.is_image else '1 or 2'}")
    low, high = s.span
    if not low < high:
        raise UsageError(f"min={low:g} max={high:g}: an empty range; give a min below the max")
    if s.kernel.steerable and s.generator == "MAGNet" and s.axes != 2:
        raise UsageError("steerable=True: a rotation needs two axes; give dim=2 or steerable=False")
    decays(s)


def decays(settings: Settings) -> list[int]:
    """The iterations of `decay_steps`, of which a multistep schedule needs one."""
    parts = [part for part in settings.decay_steps.strip("[]").split(",") if part.strip()]
    if not all(part.strip().isdecimal() for part in parts):
        raise UsageError(f"decay_steps={settings.decay_steps}: give iterations, as 5000,8000")
    if settings.scheduler == "multistep" and not parts:
        raise UsageError("scheduler=multistep: give decay_steps, the iterations at which it falls")
    return [int(part) for part in parts]
