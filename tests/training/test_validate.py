"""Flags that cannot work are named before anything is loaded."""

from __future__ import annotations

from cfg.schema import Config

import math
from dataclasses import replace

import pytest
from fakes import TASK
from omegaconf import OmegaConf

from ckconv import UsageError
from training.validate import prepare, validate, validate_task


def config(flag: str, value: object):
    cfg = OmegaConf.structured(Config)
    OmegaConf.update(cfg, flag, value)
    return cfg


def test_the_defaults_are_valid():
    validate(OmegaConf.structured(Config))


@pytest.mark.parametrize(
    "flag, value",
    [
        ("train.epochs", -1),
        ("train.batch_size", 0),
        ("train.lr", 0.0),
        ("train.lr", math.nan),
        ("train.lr", -0.1),
        ("train.optimizer", "Adamw"),
        ("train.optimizer_params.momentum", 1.0),
        ("train.scheduler", "cosin"),
        ("train.scheduler", "multistep"),
        ("train.scheduler_params.patience", -2),
        ("train.scheduler_params.decay_factor", 0.0),
        ("train.scheduler_params.warmup_epochs", -2),
        ("train.precision", "fp16"),
        ("train.accumulate", 0),
        ("train.accumulate", 10_000),
        ("train.ema", 1.0),
        ("train.grad_clip", -1.0),
        ("train.max_batches", -1),
        ("train.weight_decay", math.inf),
        ("train.channels_last", "yes"),
        ("train.select_on", "train"),
        ("device", "gpu"),
        ("seed", -2),
        ("summary", [64, 3]),
        ("net.no_blocks", 0),
        ("net.block_width_factors", [1.0, 2, 1.5]),
        ("kernel.type", "Siren"),
        ("conv.horizon", "32"),
        ("mask.init_value", 0.0),
    ],
)
def test_impossible_flags_are_named(flag, value):
    with pytest.raises(UsageError) as error:
        validate(config(flag, value))
    message = str(error.value)
    assert message.startswith(flag.split(".")[0]) and flag.rpartition(".")[2] in message
    assert "\n" not in message


def test_a_near_choice_is_suggested():
    with pytest.raises(UsageError, match="did you mean cosine"):
        validate(config("train.scheduler", "cosin"))


def test_top5_needs_five_classes():
    cfg = config("train.report_top5_acc", True)
    validate_task(cfg, TASK)
    with pytest.raises(UsageError, match="train.report_top5_acc=True"):
        validate_task(cfg, replace(TASK, out_channels=4))


@pytest.mark.parametrize(
    "shape, fits", [([2, 3, 9], True), ([2, 1, 9], False), ([2, 3, 9, 9], False)]
)
def test_the_summarys_shape_must_be_the_data_sets(shape, fits):
    cfg = config("summary", shape)
    if fits:
        validate_task(cfg, TASK)
    else:
        with pytest.raises(UsageError, match=r"summary=.*64, 3, 4"):
            validate_task(cfg, TASK)


def test_a_drawn_seed_is_recorded(capsys):
    first, second = prepare(config("seed", -1)), prepare(config("seed", -1))
    assert first.seed != second.seed and min(first.seed, second.seed) >= 0
    assert f"seed={first.seed}" in capsys.readouterr().out


def test_the_published_protocol_holds_nothing_out():
    assert prepare(config("train.select_on", "test")).dataset_params.val_fraction == 0
    assert prepare(config("train.select_on", "validation")).dataset_params.val_fraction > 0
