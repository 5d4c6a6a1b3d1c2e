"""Commands of the CKConv paper are refused with the preset that says what they type."""

from __future__ import annotations

import programs
import pytest

from ckconv.errors import UsageError
from datasets import describe
from models import build_model
from program.command_line import compose
from program.words.ckconv_commands import preset_of, refuse
from training.validate import validate

CKCNN = {
    "clip": "0",
    "device": "cuda",
    "kernelnet_activation_function": "Sine",
    "kernelnet_no_hidden": "32",
    "kernelnet_norm_type": "LayerNorm",
    "lr": "0.001",
    "model": "CKCNN",
    "no_blocks": "2",
    "optimizer": "Adam",
    "sched_decay_factor": "5",
    "sched_decay_steps": "(75,)",
    "scheduler": "plateau",
}
MEANINGS = {  # our names of their flags
    "batch_size": "train.batch_size",
    "epochs": "train.epochs",
    "dropout": "net.dropout",
    "dropout_in": "net.dropout_in",
    "weight_decay": "train.weight_decay",
    "weight_dropout": "kernel.weight_dropout",
    "no_hidden": "net.no_hidden",
    "no_blocks": "net.no_blocks",
    "kernelnet_omega_0": "kernel.omega_0",
    "kernelnet_no_hidden": "kernel.no_hidden",
    "lr": "train.lr",
    "sched_patience": "train.scheduler_params.patience",
    "sched_decay_factor": "train.scheduler_params.decay_factor",
    "drop_rate": "dataset_params.drop_rate",
}
COLUMNS = ("kernelnet_omega_0", "batch_size", "epochs", "dropout", "dropout_in", "weight_decay")
MNIST = {"dataset": "MNIST", "no_hidden": "30", "sched_patience": "20", "permuted": "False"}
CIFAR = {"dataset": "CIFAR10", "no_hidden": "30", "sched_patience": "20"}
TRAJECTORIES = {
    "dataset": "CharTrajectories",
    "no_hidden": "30",
    "sched_patience": "20",
    "mfcc": "True",
}
SPEECH = {"dataset": "SpeechCommands", "no_hidden": "30", "sched_patience": "20", "mfcc": "False"}
RUNS = [  # preset, its own flags, then the columns
    ("smnist_ckcnn30", MNIST, "31.09195739463897 64 200 0.1 0.1 0"),
    ("smnist_ckcnn100", MNIST | {"no_hidden": "100"}, "30.5 64 200 0.2 0.2 0"),
    ("pmnist_ckcnn30", MNIST | {"permuted": "True"}, "43.45667389601194 64 200 0 0.1 0"),
    (
        "pmnist_ckcnn100",
        MNIST | {"permuted": "True", "no_hidden": "100"},
        "42.161651744476515 64 200 0 0.2 0",
    ),
    ("scifar10_ckcnn30", CIFAR, "25.696 64 200 0.2 0 0"),
    (
        "scifar10_ckcnn100",
        CIFAR | {"no_hidden": "100", "weight_dropout": "0.1"},
        "25.696 64 200 0.3 0 0.0001",
    ),
    ("chartrajectories_ckcnn30", TRAJECTORIES, "21.44961185481323 32 200 0.1 0 0"),
    (
        "chartrajectories_sr8_ckcnn30",
        TRAJECTORIES | {"sr_train": "8"},
        "12.589391905289371 32 200 0.1 0 0",
    ),
    (
        "chartrajectories_drop30_ckcnn30",
        TRAJECTORIES | {"drop_rate": "30"},
        "17.243982444546685 32 200 0.2 0 0",
    ),
    (
        "chartrajectories_drop50_ckcnn30",
        TRAJECTORIES | {"drop_rate": "50"},
        "11.997102427300288 32 200 0 0 0.0001",
    ),
    (
        "chartrajectories_drop70_ckcnn30",
        TRAJECTORIES | {"drop_rate": "70"},
        "4.237433943113986 32 200 0.1 0 0",
    ),
    (
        "speechcommands_mfcc_ckcnn30",
        SPEECH | {"mfcc": "True", "sched_patience": "15"},
        "30.90257553169801 64 200 0.2 0 0",
    ),
    ("speechcommands_raw_ckcnn30", SPEECH, "39.450608806633795 32 300 0 0 0.0001"),
    (
        "speechcommands_raw_drop30_ckcnn30",
        SPEECH | {"drop_rate": "30"},
        "35.655229877794035 32 300 0.1 0 0.0001",
    ),
    (
        "speechcommands_raw_drop50_ckcnn30",
        SPEECH | {"drop_rate": "50"},
        "31.700745675276966 32 300 0 0 0.0001",
    ),
    (
        "speechcommands_raw_drop70_ckcnn30",
        SPEECH | {"drop_rate": "70", "weight_dropout": "0.1"},
        "23.29255834358289 32 300 0.1 0.1 0",
    ),
    (
        "physionet_ckcnn30",
        {"dataset": "PhysioNet", "no_hidden": "30", "sched_patience": "20"},
        "9.779406396796968 1024 200 0.1 0.1 0.0001",
    ),
]


def ckconv_flags(own: dict[str, str], columns: str) -> dict[str, str]:
    return CKCNN | dict(zip(COLUMNS, columns.split())) | own


@pytest.mark.parametrize(("name", "own", "columns"), RUNS)
def test_a_command_of_the_ckconv_repository_is_answered_with_its_preset(name, own, columns):
    typed = ckconv_flags(own, columns)
    assert preset_of(typed) == name
    with pytest.raises(UsageError, match=rf"\+experiment={name}( |$)"):
        refuse([f"--config.{flag}={value}" for flag, value in typed.items()])
    cfg = compose([f"+experiment={name}"])
    validate(cfg)
    build_model(cfg, describe(cfg))
    assert (cfg.kernel.init, cfg.kernel.weight_norm, cfg.net.norm) == ("ckconv", True, "LayerNorm")
    for flag, meaning in MEANINGS.items():
        value = cfg
        for part in meaning.split("."):
            value = value[part]
        assert value == float(typed.get(flag, 0)), flag


def test_what_is_typed_beside_the_preset_is_said():
    typed = ckconv_flags(TRAJECTORIES, "21.44961185481323 32 200 0.1 0 0")
    typed |= {"sr_train": "2", "sr_test": "4", "train": "False", "pretrained": "True", "seed": "3"}
    with pytest.raises(UsageError) as error:
        refuse([f"--config.{flag}={value}" for flag, value in typed.items()])
    text = str(error.value)
    assert "+experiment=chartrajectories_ckcnn30 dataset_params.sr_train=2" in text
    assert "sr_test=4 train.do=False pretrained=True" in text and text.endswith("seed=3")
    with pytest.raises(UsageError, match="--help lists the presets"):
        refuse(["--config.dataset=PennTreeBankChar"])
    refuse(["dataset=MNIST", "train.lr=0.1"])


def test_the_program_says_so_in_one_line():
    run = programs.run("run_experiment.py", "--config.dataset=MNIST", "--config.lr=0.001")
    assert run.returncode == 1 and run.stdout == ""
    assert "+experiment=smnist_ckcnn30" in run.stderr and run.stderr.count("\n") == 1
