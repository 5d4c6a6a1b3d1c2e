"""The flags are looked at before anything is loaded: impossible ones stop here."""

from __future__ import annotations

from cfg.flags import composed
from cfg.schema import Config, Train

from ckconv import fields, nn
from ckconv.errors import UsageError
from datasets.task import Task
from program.device import draw_seed
from training.report.tensorboard_log import check_installed
from training.tables import check_choices


def prepare(cfg: Config) -> Config:
    """Settle what the flags leave open, so that the recorded config repeats the run.

    A seed of -1 is drawn; with `train.select_on=test`, as published, no samples are held out.
    """
    own: dict[str, float] = {}
    if cfg.seed == -1:
        own["seed"] = draw_seed()
        print(f"seed=-1: drew seed={own['seed']}")
    if cfg.train.select_on == "test":
        own["dataset_params.val_fraction"] = 0.0
    return composed(cfg, own)


def validate(cfg: Config) -> None:
    """Raise `UsageError`, naming the flag, for a config that cannot be run."""
    fields.check(Config, cfg)
    check_choices(cfg)
    nn.ck.check(cfg.kernel)
    _check_training(cfg.train)
    _check_summary(list(cfg.summary))
    check_installed(cfg.logger)


def validate_task(cfg: Config, task: Task) -> None:
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


def _check_training(train: Train) -> None:
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
