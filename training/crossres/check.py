"""What can be trained at one resolution and deployed at another, and what cannot."""

from __future__ import annotations

from cfg.flags import composed
from cfg.schema import Config

from dataclasses import replace

from ckconv.errors import UsageError
from datasets import check_size, task_of
from datasets.batches.resample import target_size
from datasets.task import Task


def check(cfg: Config) -> None:
    """Raise `UsageError` for resolutions or stages that make no run."""
    cross_res = cfg.cross_res
    for flag in ("source_res", "target_res"):
        value = getattr(cross_res, flag)
        if value < 1:
            raise UsageError(
                f"cross_res.{flag}={value}: give the resolutions, as cross_res.source_res=16 "
                "cross_res.target_res=32"
            )
        if value % 2:
            raise UsageError(
                f"cross_res.{flag}={value}: is odd; give an even number of pixels, "
                f"{value - 1 or 2} or {value + 1}, so that the kernels, one larger, have a centre"
            )
    if cross_res.source_res == cross_res.target_res:
        raise UsageError(
            f"cross_res.source_res=cross_res.target_res={cross_res.target_res}: give two different "
            "resolutions, or use run_experiment.py"
        )
    ratio = cross_res.target_res / cross_res.source_res
    if cfg.kernel.srf.scale not in (0, 1, ratio):
        raise UsageError(
            f"kernel.srf.scale={cfg.kernel.srf.scale}: N-Jets are deployed at the ratio of the "
            f"resolutions, {ratio:g}; leave it 0"
        )
    squares = [(n, n) for n in (cross_res.source_res, cross_res.target_res)]
    if cross_res.resize and target_size(cross_res) not in squares:
        raise UsageError(
            f"cross_res.resize={cross_res.resize}: run_crossres.py resizes to "
            "cross_res.source_res and cross_res.target_res; leave it empty"
        )
    _check_epochs(cfg)


def _check_epochs(cfg: Config) -> None:
    epochs, warmup = cfg.cross_res.finetune_epochs, cfg.train.scheduler_params.warmup_epochs
    if 0 < epochs <= warmup:
        raise UsageError(
            f"cross_res.finetune_epochs={epochs}: give 0 for no fine-tuning, or more than the "
            f"{max(warmup, 0)} of train.scheduler_params.warmup_epochs"
        )
    started = cfg.pretrained or cfg.pretrained_wandb
    if not started and (cfg.train.epochs == 0 or not cfg.train.do):
        given = "epochs=0" if cfg.train.do else "do=False"
        raise UsageError(
            f"train.{given}: there is no trained network to deploy; give one by pretrained=True "
            "pretrained_params.filepath=..., or train"
        )


def settle(cfg: Config) -> Config:
    """The config with kernels one sample larger than the source resolution, as published.

    They are regularized for their size at each stage, whatever size is typed. Ordinary
    convolutions keep the size that is typed.
    """
    own = {"kernel.regularize_params.res": 0}  # their size as it is
    horizon = str(cfg.cross_res.source_res + 1)
    if cfg.conv.type in ("FlexConv", "CKConv"):
        if cfg.conv.horizon not in ("same", horizon):
            print(
                f"conv.horizon={cfg.conv.horizon}: kernels are one sample larger than the images "
                f"of cross_res.source_res, {horizon}"
            )
        own["conv.horizon"] = horizon
    return composed(cfg, own)


def source_task(cfg: Config) -> Task:
    """The task at the source resolution. Raises `UsageError` where there are no images."""
    task = task_of(cfg)
    if task.dim != 2:
        raise UsageError(
            f"dataset={cfg.dataset}: run_crossres.py is for images; for sequences at another "
            "sampling rate use run_experiment.py with dataset_params.sr_train and sr_test"
        )
    source, target = cfg.cross_res.source_res, cfg.cross_res.target_res
    check_size(cfg, (target, target))
    return replace(task, size=(source, source))
