"""The Tab key: flags, groups, presets and values, from `cfg/` alone."""

from __future__ import annotations

from cfg.schema import Config

import dataclasses
import shutil
import subprocess
import sys
import typing
from collections.abc import Iterator

import pytest

from datasets import DATASETS
from models import ALIASES
from program.words.completion import ROOT, asked, candidates, shell_function
from program.words.page import flags, preset_names
from training.tables import TABLES

CHOICES = {flag.name: flag.choices for flag in flags()}


def declared(kind: type = Config, prefix: str = "") -> Iterator[tuple[str, set[str]]]:
    """The flags whose choices the schema knows."""
    types = typing.get_type_hints(kind)
    for field in dataclasses.fields(kind):
        inner, name = types[field.name], prefix + field.name
        if dataclasses.is_dataclass(inner):
            yield from declared(inner, name + ".")
        elif inner is bool:
            yield name, {"True", "False"}
        elif "choices" in field.metadata and inner is not int:
            yield name, {str(choice) for choice in field.metadata["choices"]}


def test_values_are_those_that_the_schema_takes():
    for name, expected in declared():
        assert {value.replace("null", "None") for value in CHOICES[name]} == expected, name


def test_values_are_those_of_the_tables():
    for name, table in TABLES.items():
        assert set(CHOICES[name]) == table.keys() - ALIASES.keys(), name


def test_data_sets():
    assert set(CHOICES["dataset"]) == DATASETS.keys() | {"Imagenet-k"}


def test_a_word_becomes_groups_then_flags_then_values():
    assert candidates("ker") == ["kernel."]
    assert "kernel.type=" in candidates("kernel.") and "kernel.srf." in candidates("kernel.")
    assert candidates("kernel.type=S") == ["kernel.type=SIREN"]
    assert candidates("+exp") == ["+experiment="]
    assert candidates("+experiment=") == [f"+experiment={name}" for name in preset_names()]
    assert {"dataset=", "dataset_params.", "train."} <= set(candidates(""))
    assert candidates("train.lr=") == candidates("nothing.") == []
    assert candidates("--m") == ["--multirun"]


def test_torch_is_not_imported():
    program = "import sys, program.words.completion; print(sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert not {"torch", "hydra", "numpy", "omegaconf"} & set(eval(done.stdout))


@pytest.mark.skipif(not shutil.which("bash"), reason="needs bash")
@pytest.mark.parametrize(
    "line, replies",
    [
        ("python run_experiment.py conv.type=Sep", ["SepFlexConv"]),
        ("./run_crossres.py train.optim", ["train.optimizer=", "train.optimizer_params."]),
        ("python other.py conv.type=Sep", []),
    ],
)
def test_in_a_shell(line, replies):
    asks = f"COMP_LINE='{line}' COMP_POINT={len(line)}; _flexconv_words"
    script = f"{shell_function()}\n{asks}; printf '%s\\n' \"${{COMPREPLY[@]}}\""
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == replies and done.stderr == ""


def test_what_hydra_is_asked_for():
    assert asked(["-sc", "install=bash"]) == asked(["-sc", "install=zsh"]) == shell_function()
    assert asked(["-sc", "uninstall=bash"]).startswith("complete -r")
    assert asked(["-sc", "install=fish"]) == asked(["seed=0"]) == asked([]) == ""
