"""The published commands of the FlexConv paper, with every flag that they type."""

from __future__ import annotations

import os
import shlex

import pytest
import torch

from datasets import build_loaders, describe
from models import build_model
from program.command_line import compose
from training.crossres.check import check, settle, source_task
from training.epoch import train_step
from training.evaluation import Totals
from training.sampling_rate import fix_kernel_sizes
from training.state import Training
from training.validate import prepare, validate, validate_task

WIDTHS7, WIDTHS5 = "[1.0, 2, 1.5, 3, 2.0, 2]", "[1.0, 1, 1.5, 2, 2.0, 2]"
DATA = {"device": "cuda", "train.optimizer": "Adam", "train.scheduler": "cosine", "seed": "0"}
IMAGES = DATA | {
    "train.scheduler_params.warmup_epochs": "5",
    "train.augment": "resnet",
    "train.batch_size": "64",
    "train.epochs": "350",
    "train.lr": "0.01",
    "train.weight_decay": "0",
    "dataset": "CIFAR10",
}
MASKED_RATE = {"train.mask_params_lr_factor": "0.1"}
FLEXNET = (
    IMAGES
    | MASKED_RATE
    | {
        "net.type": "ResNet",
        "net.norm": "BatchNorm",
        "net.dropout": "0.2",
        "net.dropout_in": "0",
        "net.no_blocks": "7",
        "net.no_hidden": "24",
        "net.block_width_factors": WIDTHS7,
    }
)
CROPPED = {"mask.dynamic_cropping": "True"}
MAGNET = (
    FLEXNET
    | CROPPED
    | {
        "conv.type": "FlexConv",
        "kernel.type": "MAGNet",
        "kernel.input_scale": "25.6",
        "kernel.no_hidden": "32",
        "kernel.no_layers": "3",
        "kernel.regularize": "False",
        "mask.init_value": "0.075",
        "mask.temperature": "15.0",
        "mask.type": "gaussian",
    }
)
SIREN = {"kernel.type": "SIREN", "kernel.omega_0": "30.0"}
H33 = {"conv.horizon": "33"}
SHAPE = {"summary": "[64, 3, 32, 32]"}
NJET = FLEXNET | {
    "conv.type": "SRF",
    "net.no_hidden": "38",
    "net.block_width_factors": "[1, 2, 1.5, 3, 2, 2]",
    "train.weight_decay": "1e-05",
}
IMAGENET = MAGNET | {
    "dataset_params.from_cache": "True",
    "dataset_params.in_ram": "True",
    "net.block_width_factors": WIDTHS5,
    "net.no_blocks": "5",
    "net.no_hidden": "22",
    "mask.temperature": "15",
    "train.batch_size": "2048",
    "train.weight_decay": "1e-05",
    "train.report_top5_acc": "True",
}
ACROSS = {
    "cross_res.source_res": "16",
    "cross_res.target_res": "32",
    "cross_res.finetune_epochs": "100",
    "train.epochs": "100",
}
REGULARIZED = {
    "kernel.regularize": "True",
    "kernel.regularize_params.factor": "0.1",
    "kernel.regularize_params.method": "together",
    "kernel.regularize_params.gauss_stddevs": "2.0",
}
GABOR = {"kernel.regularize_params.target": "gabor"}
GABOR_MASK = {"kernel.regularize_params.target": "gabor+mask"}
IMAGENET_K = {"dataset": "Imagenet-k"}


def conv(size: int) -> dict[str, str]:
    return FLEXNET | CROPPED | SHAPE | {"conv.type": "Conv", "conv.horizon": str(size)}


def resnet(depth: int) -> dict[str, str]:
    return IMAGES | MASKED_RATE | {"net.type": f"CIFARResNet{depth}", "train.lr": "0.001"}


EXPERIMENTS = {  # what python run_experiment.py is typed with, and the preset that does the same
    "cifar10_flexnet7": MAGNET | H33 | SHAPE,
    "cifar10_flexnet7_conv3": conv(3),
    "cifar10_flexnet7_conv33": conv(33),
    "cifar10_flexnet7_njet": NJET,
    "cifar10_ckcnn": MAGNET | H33 | SIREN | {"conv.type": "CKConv", "train.lr": "0.001"},
    "cifar10_ckcnn_magnet": MAGNET | H33 | {"conv.type": "CKConv"},
    "cifar10_flexnet7_siren": MAGNET | H33 | SIREN | {"train.lr": "0.001"},
    "cifar10_flexnet7_gabor": MAGNET | H33 | {"kernel.type": "Gabor"},
    "cifar10_flexnet7_decay": MAGNET | H33 | {"train.weight_decay": "1e-5"},
    "cifar10_resnet32": resnet(32),
    "imagenet32_flexnet5": IMAGENET | H33 | {"dataset": "Imagenet32"},
    "mnist_flexnet7": MAGNET
    | {
        "conv.horizon": "29",
        "dataset": "MNIST",
        "train.augment": "None",
        "summary": "[64, 1, 28, 28]",
    },
    "stl10_flexnet7": MAGNET
    | {
        "conv.horizon": "97",
        "dataset": "STL10",
        "train.augment": "None",
        "train.batch_size": "256",
        "train.epochs": "100",
        "summary": "[64, 3, 96, 96]",
    },
}
ACROSS_RESOLUTIONS = {  # the same of python run_crossres.py
    "crossres_cifar10_flexnet7": MAGNET | ACROSS,
    "crossres_cifar10_flexnet7_gabor": MAGNET | ACROSS | REGULARIZED | GABOR,
    "crossres_cifar10_flexnet7_gabor_mask": MAGNET | ACROSS | REGULARIZED | GABOR_MASK,
    "crossres_cifar10_resnet44": resnet(44) | ACROSS | {"train.lr": "0.01"},
    "crossres_cifar10_conv3": conv(3) | ACROSS,
    "crossres_cifar10_conv33": conv(33) | ACROSS,
    "crossres_cifar10_njet": NJET | ACROSS | {"comment": "c10-cres-srf7"},
    "crossres_cifar10_siren_ckconv": MAGNET | ACROSS | SIREN | {"conv.type": "CKConv"},
    "crossres_cifar10_siren": MAGNET | ACROSS | SIREN,
    "crossres_imagenet_flexnet5": IMAGENET | IMAGENET_K | ACROSS | REGULARIZED | GABOR,
    "crossres_imagenet_resnet32": DATA
    | ACROSS
    | {
        "dataset": "Imagenet-k",
        "dataset_params.from_cache": "True",
        "dataset_params.in_ram": "True",
        "net.type": "CIFARResNet32",
        "train.augment": "resnet",
        "train.batch_size": "2048",
        "train.lr": "0.01",
        "train.report_top5_acc": "True",
        "train.scheduler_params.warmup_epochs": "5",
        "train.weight_decay": "1e-05",
    },
    "crossres_imagenet_njet": NJET
    | IMAGENET_K
    | ACROSS
    | {
        "dataset_params.from_cache": "True",
        "dataset_params.in_ram": "True",
        "net.block_width_factors": WIDTHS5,
        "net.no_blocks": "5",
        "net.no_hidden": "32",
        "train.batch_size": "2048",
        "train.report_top5_acc": "True",
    },
}
COMMANDS = EXPERIMENTS | ACROSS_RESOLUTIONS
# Flags in which a typed command may differ from the preset: what was published leaves open, or
# what says how a run is watched. A fixed horizon follows the source resolution in run_crossres.py.
OPEN = ("summary", "device", "comment", "net.dropout_in", "mask.temperature", "net.type")
CHOSEN = ("train.select_on", "train.early_stop")


def words(flags: dict[str, str]) -> list[str]:
    """Flags as a shell gives them to a program."""
    return shlex.split(" ".join(f'"{flag}={value}"' for flag, value in flags.items()))


@pytest.mark.parametrize("name", COMMANDS)
def test_a_published_command_makes_a_network(name):
    cfg = compose(words(COMMANDS[name]))
    validate(cfg)
    if name in ACROSS_RESOLUTIONS:
        check(cfg)
        task = source_task(cfg)
    else:
        task = describe(cfg)
    validate_task(cfg, task)
    build_model(cfg, task)


@pytest.mark.parametrize("name", COMMANDS)
def test_the_preset_says_what_the_command_types(name):
    """Compose the preset, then the command's flags upon it: nothing may change."""
    preset = compose([f"+experiment={name}"])
    flags = {flag: x for flag, x in COMMANDS[name].items() if flag not in OPEN}
    typed = compose([f"+experiment={name}", *words(flags)])
    assert typed == preset


def test_the_presets_choose_the_epoch_as_published():
    for name in COMMANDS:
        cfg = compose([f"+experiment={name}"])
        assert (cfg.train.select_on, cfg.train.early_stop) == ("test", 100), name


AT_HAND = ("CIFAR10", "MNIST", "sMNIST", "pMNIST", "sCIFAR10", "npCIFAR10", "CharTrajectories")
CKCNNS = ("smnist", "pmnist", "scifar10", "npcifar10", "chartrajectories")
TYPED = {  # the FlexConv repository's commands, and the presets that CKConv's are answered with
    **{name: words(flags) for name, flags in COMMANDS.items() if flags["dataset"] in AT_HAND},
    **{f"{data}_ckcnn30": [f"+experiment={data}_ckcnn30"] for data in CKCNNS},
    **{f"chartrajectories_drop{rate}_ckcnn30": [] for rate in (30, 50, 70)},
    "chartrajectories_sr8_ckcnn30": [],
}


@pytest.mark.slow
@pytest.mark.real_data
@pytest.mark.parametrize("name", TYPED)
def test_a_published_command_trains_on_a_batch_of_its_data(name):
    """One optimizer step on its first training batch, then its first test batch."""
    typed = TYPED[name] or [f"+experiment={name}"]
    own = [f"dataset_params.root={os.environ['FLEXCONV_DATA']}", "device=cpu", "train.batch_size=4"]
    cfg = prepare(compose([*typed, *own, "train.max_batches=1", "train.epochs=1"]))
    validate(cfg)
    across = name in ACROSS_RESOLUTIONS
    if across:
        check(cfg)
        cfg = settle(cfg)
    task = source_task(cfg) if across else describe(cfg)
    size = (cfg.cross_res.source_res,) * 2 if across else None
    task, loaders = build_loaders(cfg, size=size, task=task)
    torch.manual_seed(0)
    model = build_model(cfg, task)
    fix_kernel_sizes(model, task)
    training = Training(model, task, cfg, steps_per_epoch=1)
    totals = Totals(task)
    loss = train_step(training, next(loaders.train.batches(0)), task, cfg, totals)
    assert loss.isfinite() and totals.results()["loss"] > 0
    learns = [p.grad is not None and p.grad.abs().max() > 0 for p in model.parameters()]
    assert sum(learns) >= 0.9 * len(learns)  # a rate that warms up moves nothing at first
    assert all(p.isfinite().all() for p in model.parameters())
    inputs, target, *lengths = next(loaders.test.batches())
    with torch.no_grad():
        output = model.eval()(inputs, *lengths)
    assert output.shape == (4, task.out_channels) and output.isfinite().all() and len(target) == 4
