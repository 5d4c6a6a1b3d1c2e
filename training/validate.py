"""The flags are looked at before anything is loaded: impossible ones stop here."""

from __future__ import annotations

import math
from typing import Any

from ckconv.config import validate_conv, validate_kernel, validate_mask, validate_net
from ckconv.errors import UsageError, check_choice
from datasets.task import Task
from program.device import draw_seed
from program.distributed import agreed

CHOICES = {
    "device": ("auto", "cuda", "cpu"),
    "train.optimizer": ("Adam", "SGD", "RMSprop"),
    "train.scheduler": ("cosine", "plateau", "multistep", "exponential", "none"),
    "train.precision": ("fp32", "bf16"),
    "train.channels_last": ("auto", "True", "False"),
    "train.select_on": ("validation", "test"),
}

# The lowest and the highest value of a flag; `open` bounds are not reached themselves.
POSITIVE, NOT_NEGATIVE = (0, math.inf, "open"), (0, math.inf, "closed")
AT_LEAST_ONE, BELOW_ONE = (1, math.inf, "closed"), (0, 1, "half open")
RANGES = {
    "train.epochs": NOT_NEGATIVE,
    "train.batch_size": AT_LEAST_ONE,
    "train.lr": POSITIVE,
    "train.optimizer_params.momentum": BELOW_ONE,
    "train.omega_0_lr_factor": NOT_NEGATIVE,
    "train.mask_params_lr_factor": NOT_NEGATIVE,
    "train.weight_decay": NOT_NEGATIVE,
    "train.mask_l2_norm": NOT_NEGATIVE,
    "train.magnitude_reg": NOT_NEGATIVE,
    "train.grad_clip": NOT_NEGATIVE,
    "train.scheduler_params.decay_factor": POSITIVE,
    "train.scheduler_params.patience": NOT_NEGATIVE,
    "train.scheduler_params.warmup_epochs": (-1, math.inf, "closed"),
    "train.max_batches": NOT_NEGATIVE,
    "train.accumulate": AT_LEAST_ONE,
    "train.ema": BELOW_ONE,
    "train.early_stop": NOT_NEGATIVE,
    "seed": (-1, 2**32 - 1, "closed"),
    "summary_depth": AT_LEAST_ONE,
}


def prepare(cfg: Any) -> Any:
    """Settle what the flags leave open, so that the recorded config repeats the run.

    A seed of -1 is drawn; with `train.select_on=test`, as published, no samples are held out.
    """
    if cfg.seed == -1:
        cfg.seed = agreed(draw_seed())
        print(f"seed=-1: drew seed={cfg.seed}")
    if cfg.train.select_on == "test":
        cfg.dataset_params.val_fraction = 0.0
    return cfg


def validate(cfg: Any) -> None:
    """Raise `UsageError`, naming the flag, for a config that cannot be run."""
    for flag, choices in CHOICES.items():
        check_choice(flag, _get(cfg, flag), choices)
    for flag, bounds in RANGES.items():
        _check_range(flag, _get(cfg, flag), *bounds)
    validate_net(cfg.net)
    validate_kernel(cfg.kernel)
    validate_conv(cfg.conv)
    validate_mask(cfg.mask)
    _check_training(cfg.train)
    _check_summary(list(cfg.summary))


def validate_task(cfg: Any, task: Task) -> None:
    """Raise `UsageError` for flags that do not go with the data set."""
    if cfg.train.report_top5_acc and (task.metric != "accuracy" or task.out_channels < 5):
        raise UsageError(
            f"train.report_top5_acc=True: {task.name} has no five classes to choose from; "
            "leave it False"
        )
    params = cfg.dataset_params
    if cfg.train.do and cfg.train.select_on == "test" and params.sr_train != params.sr_test:
        raise UsageError(
            f"train.select_on=test: epochs are chosen at the sampling rate of training, "
            f"dataset_params.sr_train={params.sr_train}, and the test set has "
            f"dataset_params.sr_test={params.sr_test}; leave it validation"
        )
    shape = list(cfg.summary)
    if shape != [0] and (len(shape) != 2 + task.dim or shape[1] != task.in_channels):
        expected = ", ".join(map(str, (64, task.in_channels, *task.size)))
        raise UsageError(f"summary={shape}: {task.name} has inputs such as [{expected}]")


def _check_training(train: Any) -> None:
    params = train.scheduler_params
    if train.accumulate > train.batch_size:
        raise UsageError(
            f"train.accumulate={train.accumulate}: a batch of train.batch_size={train.batch_size} "
            "cannot be split into more parts than it has samples"
        )
    if train.optimizer_params.nesterov and not train.optimizer_params.momentum:
        raise UsageError(
            "train.optimizer_params.nesterov=True: needs train.optimizer_params.momentum over 0"
        )
    if train.scheduler == "multistep" and not list(params.decay_steps):
        raise UsageError(
            "train.scheduler=multistep: give train.scheduler_params.decay_steps, as [4,8]"
        )
    if train.scheduler == "plateau" and params.warmup_epochs > 0:
        raise UsageError(
            f"train.scheduler_params.warmup_epochs={params.warmup_epochs}: train.scheduler=plateau "
            "has no warm-up; use -1"
        )
    if train.scheduler == "plateau" and params.decay_factor <= 1:
        raise UsageError(
            f"train.scheduler_params.decay_factor={params.decay_factor}: the rate is divided by "
            "it; give a number over 1"
        )


def _check_summary(shape: list[int]) -> None:
    if shape != [0] and (len(shape) < 3 or min(shape) < 1):
        raise UsageError(f"summary={shape}: give an input shape, as [64, 3, 32, 32], or [0]")


def _check_range(flag: str, value: float, low: float, high: float, kind: str) -> None:
    above = value > low if kind == "open" else value >= low
    below = value < high if kind == "half open" else value <= high
    if math.isfinite(value) and above and below:
        return
    words = {
        POSITIVE: "a number over 0",
        NOT_NEGATIVE: "0 or more",
        AT_LEAST_ONE: "1 or more",
        BELOW_ONE: "a number from 0 to below 1",
    }
    wanted = words.get((low, high, kind)) or (
        f"{low} or more" if high == math.inf else f"a number from {low} to {high}"
    )
    raise UsageError(f"{flag}={value}: give {wanted}")


def _get(cfg: Any, flag: str) -> Any:
    for part in flag.split("."):
        cfg = getattr(cfg, part)
    return cfg
