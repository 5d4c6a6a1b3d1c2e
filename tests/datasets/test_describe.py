"""What a data set is, and which flags it refuses, before any data are touched."""

from __future__ import annotations

from cfg.schema import Config

from pathlib import Path

import pytest
from omegaconf import OmegaConf

from ckconv.errors import UsageError
from datasets import DATASETS, build_loaders, describe

# name, flags: channels, classes, size, training samples
TASKS = [
    ("Digits", {}, 1, 10, (8, 8), 1257),
    ("Digits", {"val_fraction": 0.0}, 1, 10, (8, 8), 1437),
    ("MNIST", {}, 1, 10, (28, 28), 54_000),
    ("MNIST", {"val_fraction": 0.0}, 1, 10, (28, 28), 60_000),
    ("CIFAR10", {}, 3, 10, (32, 32), 45_000),
    ("CIFAR100", {}, 3, 100, (32, 32), 45_000),
    ("STL10", {}, 3, 10, (96, 96), 4_500),
    ("sDigits", {"sr_train": 4}, 1, 10, (16,), 1257),
    ("sMNIST", {}, 1, 10, (784,), 54_000),
    ("sMNIST", {"permuted": True, "sr_train": 2}, 1, 10, (392,), 54_000),
    ("sCIFAR10", {}, 3, 10, (1024,), 45_000),
    ("sCIFAR10", {"noise_padded": True}, 96, 10, (1000,), 45_000),
    ("SpeechCommands", {}, 1, 10, (16_000,), 24_482),
    ("SpeechCommands", {"drop_rate": 70, "sr_train": 8}, 2, 10, (2000,), 24_482),
    ("SpeechCommands", {"mfcc": True, "sr_train": 2}, 20, 10, (81,), 24_482),
    ("CharTrajectories", {}, 3, 20, (182,), 2000),
    ("CharTrajectories", {"drop_rate": 30}, 4, 20, (182,), 2000),
]


@pytest.mark.parametrize("name, flags, channels, classes, size, samples", TASKS)
def test_describe_reads_no_data(make_cfg, tmp_path, name, flags, channels, classes, size, samples):
    task = describe(make_cfg(name, **flags))
    assert (task.name, task.in_channels, task.out_channels) == (name, channels, classes)
    assert (task.size, task.dim, task.train_samples) == (size, len(size), samples)
    assert (task.loss, task.metric, task.per_step) == ("cross_entropy", "accuracy", False)
    assert list(tmp_path.iterdir()) == []


def test_the_generated_tasks(make_cfg):
    task = describe(make_cfg("AddProblem", seq_length=200))
    assert (task.in_channels, task.out_channels, task.size) == (2, 1, (200,))
    assert (task.loss, task.metric, task.per_step) == ("mse", "mse", False)
    task = describe(make_cfg("CopyMemory", seq_length=200, memory_size=7))
    assert (task.in_channels, task.out_channels, task.size) == (10, 10, (214,))
    assert (task.loss, task.metric, task.per_step) == ("cross_entropy", "accuracy", True)


@pytest.mark.parametrize(
    "name, flags, message",
    [
        ("CIFAR11", {}, "did you mean CIFAR1"),
        ("MNIST", {"permuted": True}, "dataset_params.permuted=True.*sMNIST"),
        ("sDigits", {"permuted": True}, "permuted"),
        ("sMNIST", {"noise_padded": True}, "noise_padded=True.*sCIFAR10"),
        ("sMNIST", {"mfcc": True}, "mfcc=True.*SpeechCommands"),
        ("sMNIST", {"drop_rate": 30}, "drop_rate=30"),
        ("SpeechCommands", {"drop_rate": 30, "mfcc": True}, "drop_rate=30.*mfcc=False"),
        ("SpeechCommands", {"drop_rate": 100}, "drop_rate=100.*0 to 99"),
        ("CharTrajectories", {"drop_rate": -1}, "drop_rate=-1.*0 to 99"),
        ("sMNIST", {"sr_train": 3}, "sr_train=3.*1, 2, 4, 8"),
        ("sMNIST", {"sr_test": 0}, "sr_test=0.*1, 2, 4, 8"),
        ("MNIST", {"sr_test": 2}, "sr_test=2"),
        ("AddProblem", {"sr_train": 2}, "sr_train=2"),
        ("AddProblem", {"seq_length": 1}, "seq_length=1"),
        ("CopyMemory", {"seq_length": 0}, "seq_length=0"),
        ("CopyMemory", {"memory_size": 0}, "memory_size=0"),
        ("MNIST", {"val_fraction": 1.0}, "val_fraction=1.0"),
        ("MNIST", {"val_fraction": -0.1}, "val_fraction=-0.1"),
        ("SpeechCommands", {"val_fraction": 2.0}, "val_fraction=2.0"),
        ("MNIST", {"val_fraction": 0.0001}, "val_fraction=0.0001.*at least 10"),
        ("CIFAR100", {"val_fraction": 0.9999}, "val_fraction=0.9999.*at least 100"),
    ],
)
def test_flags_that_do_not_fit_are_refused(make_cfg, tmp_path, name, flags, message):
    for build in (describe, build_loaders):
        with pytest.raises(UsageError, match=message):
            build(make_cfg(name, **flags))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "name, augment, allowed",
    [
        ("CIFAR10", "resnet", True),
        ("STL10", "resnet", True),
        ("sCIFAR10", "resnet", True),
        ("MNIST", "standard", True),
        ("MNIST", "None", True),
        ("Digits", None, True),
        ("AddProblem", "", True),
        ("CIFAR10", "standard", False),
        ("MNIST", "resnet", False),
        ("sMNIST", "standard", False),
        ("Digits", "resnet", False),
        ("CIFAR10", "flip", False),
    ],
)
def test_augmentations_belong_to_data_sets(make_cfg, name, augment, allowed):
    cfg = make_cfg(name)
    cfg.train.augment = augment
    if allowed:
        describe(cfg)
    else:
        with pytest.raises(UsageError, match=f"train.augment={augment}: for {name} choose None"):
            describe(cfg)


@pytest.mark.parametrize("batch_size", [0, -4])
def test_batch_size_is_checked(make_cfg, batch_size):
    cfg = make_cfg("Digits")
    cfg.train.batch_size = batch_size
    with pytest.raises(UsageError, match=f"train.batch_size={batch_size}"):
        describe(cfg)


def test_a_batch_is_shared_evenly_by_processes(make_cfg):
    with pytest.raises(UsageError, match="train.batch_size=16.*multiple of 3"):
        build_loaders(make_cfg("Digits"), rank=0, world_size=3)


def test_hydras_configs_work_too(tmp_path: Path):
    cfg = OmegaConf.structured(Config)
    cfg.dataset = "sDigits"
    task, loaders = build_loaders(cfg)
    assert task == describe(cfg)
    assert len(loaders.train) == 40


@pytest.mark.parametrize("name", ["MNIST", "CIFAR10", "CIFAR100", "STL10"])
def test_every_name_is_its_data_sets(name):
    assert DATASETS[name].name == name
