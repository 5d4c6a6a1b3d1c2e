"""What people type at a prompt: paths of any kind, options anywhere, flags of other programs."""

from __future__ import annotations

from cfg.flags import PATHS, TEXTS, known_flags

import os
import subprocess
from pathlib import Path

import programs
import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from ckconv import UsageError
from ckconv.errors import check_choice
from program.command_line import CONFIG_FOLDER, compose
from program.words.arguments import readable, readable_arguments
from program.words.mistakes import unknown_flag


def run(*flags: str, cwd: Path) -> subprocess.CompletedProcess:
    return programs.run(programs.PROJECT / "run_experiment.py", *flags, cwd=cwd)


TRYING = ["/a=b", "/a,b", "/a[1]", "/a b", "/a'b", '/a"b', "/ü", "2024", "1e3", "a\\", "{x}", "a;b"]


@pytest.mark.parametrize("flag", TEXTS)
@pytest.mark.parametrize("text", TRYING)
def test_a_path_or_a_text_is_taken_as_it_is(flag, text):
    [typed] = readable([f"{flag}={text}"])
    read = OverridesParser.create().parse_override(typed)
    assert not read.is_sweep_override() and str(read.value()) == text


def test_hydra_reads_them():
    flags = [flag for flag in TEXTS if not flag.startswith(("hydra.", "train.resume"))]
    cfg = compose([f"{flag}={text}" for flag, text in zip(flags, TRYING)])
    assert [OmegaConf.select(cfg, flag) for flag in flags] == TRYING[: len(flags)]


@pytest.mark.parametrize("flag", PATHS)
def test_a_tilde_is_the_home_folder(flag):
    assert readable([f"{flag}=~/data"]) == [f"{flag}={os.path.expanduser('~')}/data"]


def test_quotes_of_ones_own_and_references_stay():
    typed = ["comment='a b'", "wandb.dir=${dataset_params.root}", "train.lr=0.1", "wandb.entity="]
    assert readable(typed) == typed


def test_commas_between_paths_are_a_sweep_where_one_is_asked_for():
    assert readable(["wandb.dir=/a,/b"], is_sweep=True) == ["wandb.dir=/a,/b"]
    assert readable(["wandb.dir=/a=1,/b"], is_sweep=True) == ['wandb.dir="/a=1",/b']
    assert compose(["cross_res.resize=16,24"]).cross_res.resize == "16,24"


def test_options_may_stand_anywhere():
    typed = ["seed=0", "--multirun", "train.lr=1,2", "-cn", "other", "comment=a=b"]
    expected = ["seed=0", "train.lr=1,2", 'comment="a=b"', "--multirun", "-cn", "other"]
    assert readable_arguments(typed) == expected
    with pytest.raises(UsageError, match="unrecognized arguments: --nope"):
        readable_arguments(["--nope"])


def test_texts_are_flags():
    assert {flag for flag in TEXTS if not flag.startswith("hydra.")} <= set(known_flags())


@pytest.mark.parametrize(
    ("flag", "sentence"),
    [
        ("~train.lr", "~train.lr: a flag cannot be removed; leave train.lr out"),
        ("~train", "~train: a flag cannot be removed"),
        ("train.lr=${nope}", "${nope}: there is no flag nope to refer to"),
        ("comment=${oc.env:NO_SUCH_VARIABLE}", "Environment variable 'NO_SUCH_VARIABLE' not found"),
        ("kernel_size=5", "kernel_size: there is no such flag; use conv.horizon"),
        ("conv.kernel_size=5", "use conv.horizon for the largest kernel and mask.init_value"),
        ("learning_rate=5", "learning_rate: there is no such flag; use train.lr"),
    ],
)
def test_what_is_meant_is_said(flag, sentence):
    with pytest.raises(UsageError) as error:
        compose([flag])
    assert sentence in str(error.value) and "\n" not in str(error.value)
    assert "raised while" not in str(error.value) and "full_key" not in str(error.value)


def test_names_of_other_programs_lead_to_flags_of_ours():
    assert unknown_flag("train.learning_rate").endswith("use train.lr")
    assert unknown_flag("model").endswith("use net.type")


def test_only_the_case_is_wrong():
    with pytest.raises(UsageError) as error:
        check_choice("dataset", "cifar10", ("CIFAR10", "MNIST"))
    assert str(error.value) == "dataset=cifar10: unknown; capitals matter, write dataset=CIFAR10"


def test_a_refused_command_leaves_no_folder(tmp_path):
    done = run("train.lr=-1", cwd=tmp_path)
    assert done.returncode == 1 and done.stderr.startswith("error: train.lr=-1")
    assert list(tmp_path.iterdir()) == []


def test_a_refused_sweep_leaves_no_folder_and_says_its_sentence(tmp_path):
    done = run("seed=0", "--multirun", "train.lr=-1,-2", cwd=tmp_path)
    assert done.returncode == 1 and "error: train.lr=-1" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_no_word_of_the_plumbing(tmp_path):
    done = run("train.resume=/nonexistent", cwd=tmp_path)
    assert done.stderr.strip() == (
        "error: train.resume=/nonexistent: there is no such folder; give a run folder, or auto"
    )
    done = run("train.lr=${nope}", cwd=tmp_path)
    assert done.stderr.strip().startswith("error: train.lr=${nope}: there is no flag nope")


def test_sweeps_begun_in_the_same_second_have_a_folder_each():
    moment = OmegaConf.load(CONFIG_FOLDER / "config.yaml").hydra.sweep._get_node("dir")._value()
    assert moment.endswith("%H-%M-%S-%f}")
