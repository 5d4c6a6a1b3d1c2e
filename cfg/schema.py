"""The types of every flag. `config.yaml` holds their defaults and says what each is for.

The library's and the networks' own dataclasses are used as they are; a typo or a wrong type
stops when the command line is composed, with the flag's name.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ckconv.config import ConvConfig, KernelConfig, MaskConfig, NetConfig


@dataclass
class DatasetParams:
    root: str = ""
    val_fraction: float = 0.1
    in_ram: bool = False
    from_cache: bool = False
    permuted: bool = False
    noise_padded: bool = False
    memory_size: int = 10
    seq_length: int = 100
    mfcc: bool = False
    drop_rate: int = 0
    sr_train: int = 1
    sr_test: int = 1
    workers: int = 2


@dataclass
class CrossRes:
    source_res: int = 0
    target_res: int = 0
    finetune_epochs: int = 100
    resize: str = ""
    interpolation: str = "bilinear"
    resize_blur: bool = False
    resize_blur_sigma: float = 1.0
    blur: bool = False


@dataclass
class OptimizerParams:
    momentum: float = 0.9
    nesterov: bool = False


@dataclass
class SchedulerParams:
    decay_steps: list[int] = field(default_factory=list)
    decay_factor: float = 5.0
    patience: int = 20
    warmup_epochs: int = -1


@dataclass
class Train:
    do: bool = True
    epochs: int = 25
    batch_size: int = 64
    lr: float = 0.01
    augment: str | None = None
    optimizer: str = "Adam"
    optimizer_params: OptimizerParams = field(default_factory=OptimizerParams)
    omega_0_lr_factor: float = 1.0
    mask_params_lr_factor: float = 1.0
    weight_decay: float = 0.0
    mask_l2_norm: float = 0.0
    magnitude_reg: float = 0.0
    grad_clip: float = 0.0
    scheduler: str = "cosine"
    scheduler_params: SchedulerParams = field(default_factory=SchedulerParams)
    report_top5_acc: bool = False
    precision: str = "fp32"
    tf32: bool = False
    channels_last: str = "auto"
    compile: bool = False
    max_batches: int = 0
    accumulate: int = 1
    ema: float = 0.0
    sync_batchnorm: bool = False
    early_stop: int = 0
    select_on: str = "validation"
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
    n_batches: int = 30
    directory: str = ""
    data_mode: str = "fake"
    data_shape: list[int] = field(default_factory=list)
    mode: str = "train"
    warmup: int = 3


@dataclass
class Config:
    """All flags of a run."""

    dataset: str = "Digits"
    dataset_params: DatasetParams = field(default_factory=DatasetParams)
    net: NetConfig = field(default_factory=NetConfig)
    kernel: KernelConfig = field(default_factory=KernelConfig)
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
    wandb: Wandb = field(default_factory=Wandb)
    device: str = "auto"
    debug: bool = False
    seed: int = 0
    deterministic: bool = False
    summary: list[int] = field(default_factory=lambda: [0])
    summary_depth: int = 5
    profile: Profile = field(default_factory=Profile)
    comment: str = ""
    time: bool = False
