"""The types of every flag. `config.yaml` holds their defaults and says what each is for.

What a layer or a network reads is declared in `ckconv.config`, what a program reads here; a typo
or a wrong type stops when the command line is composed, with the flag's name. Beside its type a
number has its range and a word its choices, which `ckconv.fields.check` looks at; the names of
optimizers, networks and so on are the keys of their tables.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ckconv.config import (
    ConvConfig,
    KernelConfig,
    MaskConfig,
    NetConfig,
    RegularizeConfig,
    choice,
    number,
)

SAMPLING_RATES = (1, 2, 4, 8)  # every n-th sample is kept
MANY = 1_000_000_000
PIXELS = 100_000  # per axis


@dataclass
class Columns:
    series: str = "series"
    time: str = "time"
    channels: list[str] = field(default_factory=list)
    label: str = "label"


@dataclass
class DatasetParams:
    root: str = ""
    val_fraction: float = number(0.1, at_least=0, below=1)
    in_ram: bool = False
    from_cache: bool = False
    permuted: bool = False
    noise_padded: bool = False
    memory_size: int = number(10, at_least=1, at_most=1_000_000)
    seq_length: int = number(100, at_least=1, at_most=1_000_000)
    mfcc: bool = False
    lengths: bool = False
    drop_rate: int = number(0, at_least=0, at_most=99)
    sr_train: int = choice(1, SAMPLING_RATES)
    sr_test: int = choice(1, SAMPLING_RATES)
    sr_positions: str = choice("span", ("span", "ckconv"))
    workers: int = number(2, at_least=0, at_most=1000)
    resize: str = ""
    transforms: list[Any] = field(default_factory=list)
    columns: Columns = field(default_factory=Columns)
    options: Any = None


@dataclass
class Kernel(KernelConfig):
    regularize: bool = False
    regularize_params: RegularizeConfig = field(default_factory=RegularizeConfig)


@dataclass
class CrossRes:
    source_res: int = number(0, at_least=0, at_most=PIXELS)
    target_res: int = number(0, at_least=0, at_most=PIXELS)
    finetune_epochs: int = number(100, at_least=0, at_most=MANY)
    resize: str = ""
    interpolation: str = choice("bilinear", ("bilinear", "nearest"))
    resize_blur: bool = False
    resize_blur_sigma: float = number(1.0, at_least=0, at_most=1000)
    blur: bool = False


@dataclass
class OptimizerParams:
    momentum: float = number(0.9, at_least=0, below=1)
    nesterov: bool = False


@dataclass
class SchedulerParams:
    decay_steps: list[int] = number([], at_least=0, at_most=MANY)
    decay_factor: float = number(5.0, over=0, at_most=1e6)
    patience: int = number(20, at_least=0, at_most=MANY)
    warmup_epochs: int = number(-1, at_least=-1, at_most=MANY)


@dataclass
class Train:
    do: bool = True
    epochs: int = number(20, at_least=0, at_most=MANY)
    batch_size: int = number(32, at_least=1, at_most=MANY)
    lr: float = number(0.01, over=0, at_most=1e30)
    augment: str | None = None
    optimizer: str = "Adam"
    optimizer_params: OptimizerParams = field(default_factory=OptimizerParams)
    omega_0_lr_factor: float = number(1.0, at_least=0, at_most=1e6)
    mask_params_lr_factor: float = number(0.1, at_least=0, at_most=1e6)
    weight_decay: float = number(0.0, at_least=0)
    mask_l2_norm: float = number(0.0, at_least=0)
    magnitude_reg: float = number(0.0, at_least=0)
    grad_clip: float = number(0.0, at_least=0)
    scheduler: str = "cosine"
    scheduler_params: SchedulerParams = field(default_factory=SchedulerParams)
    report_top5_acc: bool = False
    precision: str = choice("fp32", ("fp32", "bf16"))
    tf32: bool = False
    channels_last: str = choice("auto", ("auto", "True", "False"))
    compile: bool = False
    max_batches: int = number(0, at_least=0, at_most=MANY)
    accumulate: int = number(1, at_least=1, at_most=MANY)
    ema: float = number(0.0, at_least=0, below=1)
    sync_batchnorm: bool = False
    early_stop: int = number(0, at_least=0, at_most=MANY)
    select_on: str = choice("validation", ("validation", "test"))
    resume: str = ""


@dataclass
class Test:
    before_train: bool = False


@dataclass
class PretrainedParams:
    filepath: str = ""


@dataclass
class PretrainedWandbParams:
    filename: str = ""
    run_path: str = ""


@dataclass
class Wandb:
    project: str = "flexconv"
    entity: str = ""
    dir: str = ""


@dataclass
class Profile:
    n_batches: int = number(30, at_least=1, at_most=MANY)
    directory: str = ""
    data_mode: str = choice("fake", ("fake", "dataset"))
    data_shape: list[int] = number([], at_least=1, at_most=MANY)
    mode: str = choice("train", ("train", "evaluate"))
    warmup: int = number(3, at_least=0, at_most=MANY)


@dataclass
class Config:
    """All flags of a run."""

    dataset: str = "Digits"
    dataset_params: DatasetParams = field(default_factory=DatasetParams)
    net: NetConfig = field(default_factory=NetConfig)
    kernel: Kernel = field(default_factory=Kernel)
    conv: ConvConfig = field(default_factory=ConvConfig)
    mask: MaskConfig = field(default_factory=MaskConfig)
    cross_res: CrossRes = field(default_factory=CrossRes)
    train: Train = field(default_factory=Train)
    test: Test = field(default_factory=Test)
    pretrained: bool = False
    pretrained_strict: bool = True
    pretrained_params: PretrainedParams = field(default_factory=PretrainedParams)
    pretrained_wandb: bool = False
    pretrained_wandb_params: PretrainedWandbParams = field(default_factory=PretrainedWandbParams)
    logger: str = choice("wandb", ("wandb", "tensorboard", "both", "none"))
    wandb: Wandb = field(default_factory=Wandb)
    device: str = choice("auto", ("auto", "cuda", "cpu"))
    debug: bool = False
    seed: int = number(0, at_least=-1, at_most=2**32 - 1)
    deterministic: bool = False
    summary: list[int] = number([0], at_least=0, at_most=MANY)
    summary_depth: int = number(5, at_least=1, at_most=MANY)
    profile: Profile = field(default_factory=Profile)
    comment: str = ""
    time: bool = False
