"""The flags: one definition in three places, published spellings, presets."""

from __future__ import annotations

from cfg.flags import known_flags
from cfg.schema import Config

import os
import pickle
import re
import subprocess
import sys

import pytest
from omegaconf import OmegaConf

from ckconv import UsageError
from datasets import describe
from models import build_model
from program.command_line import CONFIG_FOLDER, JobError, check_flags, compose, program
from program.folder import run_folder
from program.words.help import columns, help_text
from program.words.page import meanings, preset_names
from training.validate import validate

IMAGE_PRESETS = {  # with the parameters that the paper states, or that ordinary kernels must have
    "cifar10_flexnet7": 671_650,
    "cifar10_flexnet5": None,
    "cifar10_flexnet3": None,
    "cifar10_flexnet7_conv3": 169_990,
    "cifar10_flexnet7_conv33": None,
    "cifar10_flexnet7_siren": None,
    "cifar10_flexnet7_gabor": None,
    "cifar10_ckcnn": None,
    "cifar10_ckcnn_magnet": None,
    "mnist_flexnet7": None,
    "cifar10_reference": 29_790,
    "mnist_small": None,
    "stl10_flexnet7": 671_650,
}


def test_config_yaml_and_the_dataclasses_have_the_same_flags_and_defaults():
    yaml = OmegaConf.load(CONFIG_FOLDER / "config.yaml")
    del yaml["defaults"], yaml["hydra"]
    assert OmegaConf.to_container(yaml) == OmegaConf.to_container(OmegaConf.structured(Config))


def test_every_flag_has_a_comment_or_speaks_for_itself():
    text = (CONFIG_FOLDER / "config.yaml").read_text()
    bare = [
        line.split(":")[0].strip()
        for line in text[text.index("dataset:") : text.index("\nhydra:")].splitlines()
        if line.strip() and "#" not in line and not line.endswith(":")
    ]
    plain = {"epochs", "lr", "report_top5_acc", "project", "entity", "filename", "run_path"}
    assert set(bare) <= plain | {"deterministic", "summary_depth"}


@pytest.mark.parametrize(
    "typed, flag, value",
    [
        ("kernel.bias_init=None", "kernel.bias_init", None),
        ("kernel.bias_init=zero", "kernel.bias_init", "zero"),
        ("train.augment=None", "train.augment", None),
        ("conv.use_fft=True", "conv.use_fft", "True"),
        ("conv.horizon=33", "conv.horizon", "33"),
        ('kernel.norm=""', "kernel.norm", ""),
        ("mask.temperature=15.0", "mask.temperature", 15.0),
        ("kernel.dim_linear=2", "kernel.dim_linear", 2),
        ("train.scheduler_params.decay_steps=[4,8]", "train.scheduler_params.decay_steps", [4, 8]),
        (
            "net.block_width_factors=[1.0, 2, 1.5, 3, 2.0, 2]",
            "net.block_width_factors",
            [1.0, 2.0, 1.5, 3.0, 2.0, 2.0],
        ),
        ("summary=[64, 3, 32, 32]", "summary", [64, 3, 32, 32]),
        ("train.weight_decay=0", "train.weight_decay", 0.0),
        ("train.lr=1e-3", "train.lr", 0.001),
        ("net.type=ResNet", "net.type", "ResNet"),
        ("pretrained=True", "pretrained", True),
        ("train.resume=True", "train.resume", "True"),
    ],
)
def test_published_spellings(typed, flag, value):
    cfg = compose([typed])
    assert OmegaConf.select(cfg, flag) == value
    validate(compose([typed, "net.no_blocks=7"]))


@pytest.mark.parametrize("flag", ["+foo=1", "++train.foo=3", "+train.optimiser=Adam"])
def test_flags_cannot_be_invented(flag):
    with pytest.raises(UsageError, match="there is no such flag"):
        compose([flag])


@pytest.mark.parametrize("typed", ["=", "=3", "+=3"])
def test_a_value_without_a_flag_is_named(typed):
    with pytest.raises(UsageError, match=rf"{re.escape(typed)}: has no flag before the ="):
        compose([typed])


def test_the_help_names_every_flag_and_preset():
    text = help_text("run_experiment.py", "Train.")
    for flag in known_flags():
        assert f"{flag.rpartition('.')[2]}:" in text
    for name in preset_names():
        assert name in text
    assert max(map(len, text.splitlines())) <= 100


def test_the_meanings_are_the_comments_of_the_flags():
    found = meanings()
    assert set(known_flags()) <= set(found)
    assert found["kernel.omega_0"] == "SIREN, nSIREN, MAGNet with init=ccnn: frequency factor"
    assert found["kernel.regularize_params.factor"] == "weight of the loss"


def test_a_long_name_stands_on_a_line_of_its_own():
    assert columns("a", "b", column=4) == "a   b"
    assert columns("abcd", "b", column=4) == "abcd\n    b"


@pytest.mark.parametrize("name", preset_names())
def test_presets_compose_and_their_networks_can_be_built(name):
    cfg = compose([f"+experiment={name}"])
    validate(cfg)
    task = describe(cfg)
    parameters = sum(p.numel() for p in build_model(cfg, task).parameters())
    if IMAGE_PRESETS.get(name):
        assert parameters == IMAGE_PRESETS[name]


def test_the_image_presets_are_there():
    assert set(IMAGE_PRESETS) <= set(preset_names())


def test_the_flexnet_recipe_is_the_papers():
    cfg = compose(["+experiment=cifar10_flexnet7"])
    assert (cfg.dataset, cfg.net.no_hidden, cfg.net.no_blocks) == ("CIFAR10", 24, 7)
    assert list(cfg.net.block_width_factors) == [1.0, 2, 1.5, 3, 2.0, 2]
    assert (cfg.kernel.type, cfg.kernel.no_hidden, cfg.kernel.no_layers) == ("MAGNet", 32, 3)
    assert (cfg.kernel.input_scale, cfg.mask.init_value, cfg.conv.horizon) == (25.6, 0.075, "33")
    assert (cfg.train.batch_size, cfg.train.lr, cfg.train.epochs) == (64, 0.01, 350)
    assert (cfg.train.optimizer, cfg.train.scheduler) == ("Adam", "cosine")
    assert cfg.train.scheduler_params.warmup_epochs == 5
    assert (cfg.train.mask_params_lr_factor, cfg.net.dropout) == (0.1, 0.2)
    assert (cfg.train.augment, cfg.dataset_params.val_fraction) == ("resnet", 0.0)


def test_a_preset_gives_way_to_the_command_line():
    cfg = compose(["+experiment=cifar10_flexnet7_siren", "train.lr=0.5"])
    assert (cfg.train.lr, cfg.kernel.type, cfg.net.no_blocks) == (0.5, "SIREN", 7)


def test_the_run_folder(tmp_path):
    fresh = str(tmp_path / "outputs" / "day" / "time")
    for resume in ("", "auto", "False", "True"):
        assert run_folder(resume, fresh) == fresh
    for day, moment in (("2026-01-02", "08"), ("2026-01-02", "09"), ("2026-01-01", "10")):
        (tmp_path / "outputs" / day / moment).mkdir(parents=True)
        (tmp_path / "outputs" / day / moment / "config.yaml").touch()
    (tmp_path / "outputs" / "2026-01-03" / "11").mkdir(parents=True)  # empty: no run
    assert run_folder("auto", fresh) == fresh
    assert run_folder("True", fresh) == str(tmp_path / "outputs" / "2026-01-02" / "09")
    assert run_folder(str(tmp_path), fresh) == str(tmp_path)
    with pytest.raises(UsageError, match="no such folder"):
        run_folder(str(tmp_path / "nowhere"), fresh)


def test_a_config_with_a_missing_reference_is_a_users_mistake():
    cfg = OmegaConf.structured(Config)
    cfg.comment = "${nope}"
    with pytest.raises(UsageError, match="nope"):
        check_flags(cfg)


@pytest.mark.parametrize("more", [[], ["--multirun"]])
def test_an_error_of_the_job_is_no_mistake_on_the_command_line(more, tmp_path, monkeypatch):
    """While the command line is read a `ValueError` is the user's; in the job it is a fault."""

    @program
    def main(cfg, job):
        """Fail."""
        raise ValueError("a fault") from KeyError("its cause")

    place = [f"hydra.run.dir={tmp_path}", f"hydra.sweep.dir={tmp_path}"]
    monkeypatch.setattr(sys, "argv", ["main.py", *place, *more])
    with pytest.raises(ValueError, match="a fault") as raised:
        main()
    assert isinstance(raised.value.__cause__, KeyError)


def test_an_error_of_a_job_in_another_process_is_still_known_by_its_wrapping():
    carrier = pickle.loads(pickle.dumps(JobError(UsageError("train.lr=0: give a number over 0"))))
    assert isinstance(carrier.error, UsageError) and str(carrier.error).startswith("train.lr=0")


@pytest.mark.parametrize(
    "program",
    [
        "run_experiment.py",
        "run_crossres.py",
        "run_profiler.py",
        "benchmarks/run.py",
        "benchmarks/scaling.py",
        "benchmarks/calibrate.py",
        "benchmarks/depthwise.py",
    ],
)
def test_how_threads_wait_is_said_before_torch_is_imported(program):
    script = (
        "import builtins, os, runpy, sys\n"
        "load = builtins.__import__\n"
        "def watch(name, *rest, **kwargs):\n"
        "    if name.split('.')[0] == 'torch':\n"
        "        print(*(os.environ.get(name) for name in ('OMP_WAIT_POLICY', 'GOMP_SPINCOUNT')))\n"
        "        sys.stdout.flush()\n"
        "        os._exit(0)\n"
        "    return load(name, *rest, **kwargs)\n"
        "builtins.__import__ = watch\n"
        f"runpy.run_path({program!r})\n"
    )
    said = "OMP_WAIT_POLICY", "GOMP_SPINCOUNT"
    environment = {k: v for k, v in os.environ.items() if k not in said}
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=CONFIG_FOLDER.parent,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.stdout.strip() == "PASSIVE 3000", done.stderr


@pytest.mark.parametrize(
    "command",
    [
        ["run_experiment.py", "--help"],
        ["run_experiment.py", "debug=True", "device=cpu", "train.epochs=1", "train.max_batches=2"],
        ["ckernel_fitting/fit_function.py", "--help"],
    ],
    ids=lambda command: " ".join(command[:2]),
)
def test_a_reader_that_leaves_ends_a_program_quietly(command, tmp_path):
    """As in `python run_experiment.py | head -1`."""
    folder = [f"hydra.run.dir={tmp_path}"] if "debug=True" in command else []
    child = subprocess.Popen(
        [sys.executable, *command, *folder],
        cwd=CONFIG_FOLDER.parent,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    child.stdout.close()
    errors = child.stderr.read()
    assert child.wait(timeout=120) == 141
    assert "Error" not in errors and "Traceback" not in errors
