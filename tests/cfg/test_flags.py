"""Every number has its range and every word its choices: said once, held here to config.yaml."""

from __future__ import annotations

from cfg.flags import known_flags
from cfg.schema import Config

import dataclasses
import math
import re
import typing
from collections.abc import Iterator
from pathlib import Path

import programs
import pytest
from omegaconf import OmegaConf

from ckconv import ConvConfig, KernelConfig, MaskConfig, NetConfig, UsageError
from ckconv.nn import CKConv, FlexConv
from ckconv.nn.ck import mlp
from training.tables import TABLES
from training.validate import validate

PROJECT = Path(__file__).resolve().parents[2]
FREE_TEXT = {  # paths, names, and what other parts read: no number and no table
    "cross_res.resize",
    "comment",
    "conv.horizon",
    "conv.use_fft",
    "dataset",
    "dataset_params.columns.channels",
    "dataset_params.columns.label",
    "dataset_params.columns.series",
    "dataset_params.columns.time",
    "dataset_params.resize",
    "dataset_params.root",
    "pretrained_params.filepath",
    "pretrained_wandb_params.filename",
    "pretrained_wandb_params.run_path",
    "profile.directory",
    "train.augment",
    "train.resume",
    "wandb.dir",
    "wandb.entity",
    "wandb.project",
}
OF_ONE_GENERATOR = {"kernel.activ_function": mlp.ACTIVATIONS, "kernel.norm": mlp.NORMS}


def leaves(kind: type = Config, prefix: str = "") -> Iterator[tuple[str, str, dataclasses.Field]]:
    """The name, the type in words and the field of every flag."""
    types = typing.get_type_hints(kind)
    for field in dataclasses.fields(kind):
        if dataclasses.is_dataclass(types[field.name]):
            yield from leaves(types[field.name], f"{prefix}{field.name}.")
        else:
            yield prefix + field.name, str(types[field.name]), field


def config(flag: str, value: object):
    cfg = OmegaConf.structured(Config)
    OmegaConf.update(cfg, flag, value)
    return cfg


NUMBERS = [(n, f) for n, kind, f in leaves() if ("int" in kind or "float" in kind)]
WORDS = {n: f.metadata["choices"] for n, kind, f in leaves() if "choices" in f.metadata}


@pytest.mark.parametrize(("flag", "field"), NUMBERS, ids=lambda value: str(value)[:40])
def test_every_number_has_a_range(flag, field):
    assert ("range" in field.metadata) != ("choices" in field.metadata)


def test_every_word_has_its_choices():
    numbers = {name for name, _ in NUMBERS}  # a word may stand in a number's place
    words = {name for name, kind, _ in leaves() if "str" in kind} - numbers
    assert words == {*FREE_TEXT, *TABLES, *OF_ONE_GENERATOR} | {
        name for name in WORDS if name in words
    }


@pytest.mark.parametrize(
    "flag", [n for n, f in NUMBERS if "float" in str(f.type) and "list" not in str(f.type)]
)
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_no_number_is_infinite_or_none_at_all(flag, value):
    with pytest.raises(UsageError, match=re.escape(f"{flag}={value}: give a number")):
        validate(config(flag, value))


@pytest.mark.parametrize(
    ("flag", "value"),
    [
        ("kernel.regularize_params.factor", -1),
        ("kernel.regularize_params.gauss_stddevs", -2),
        ("kernel.regularize_params.res", -1),
        ("kernel.input_scale", -3),
        ("kernel.sampling_rate_norm", 0),
        ("kernel.init_spatial_value", -1),
        ("kernel.no_hidden", 10**9),
        ("kernel.srf.scale", -1),
        ("mask.init_value", math.inf),
        ("net.block_width_factors", [math.nan, 1]),
        ("net.block_width_factors", [0.01, 2]),
        ("net.no_hidden", 10**9),
        ("train.lr", 1e300),
        ("train.lr", 1e-300),
        ("kernel.omega_0", 1e-300),
        ("train.batch_size", 10**12),
        ("train.scheduler_params.decay_steps", [4, -1]),
        ("conv.horizon", "9" * 5000),
        ("dataset_params.sr_train", 3),
        ("dataset_params.seq_length", 10**12),
        ("seed", 2**32),
    ],
)
def test_what_no_run_can_use_is_named(flag, value):
    with pytest.raises(UsageError) as error:
        validate(config(flag, value))
    assert str(error.value).startswith(f"{flag}=") and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("message", "make"),
    [
        ("kernel.input_scale=-3.0: give", lambda: CKConv(1, 1, 2, KernelConfig(input_scale=-3.0))),
        (
            "kernel.no_layers=1: a SIREN",
            lambda: CKConv(1, 1, 2, KernelConfig("SIREN", no_layers=1)),
        ),
        ("kernel.norm=Batch", lambda: CKConv(1, 1, 2, KernelConfig("MLP", norm="Batch"))),
        ("conv.padding=full: unknown", lambda: CKConv(1, 1, conv=ConvConfig(padding="full"))),
        ("mask.init_value=nan", lambda: FlexConv(1, 1, mask=MaskConfig(init_value=math.nan))),
        ("mask.type=box: unknown", lambda: FlexConv(1, 1, mask=MaskConfig(type="box"))),
        ("net.dropout=1.0: give", lambda: NetConfig(dropout=1.0).check()),
    ],
)
def test_the_library_speaks_of_the_same_names(message, make):
    with pytest.raises(UsageError, match=re.escape(message)):
        make()


def words_of(comment: str) -> set[str]:
    """The names in a comment, with families such as Net10/20 written out."""
    names = set()
    for word in re.findall(r"[A-Za-z0-9_+/-]+", comment):
        first, *rest = word.split("/")
        family = first.rstrip("0123456789")
        names |= {first, *(part if family == first else family + part for part in rest)}
    return names


def comments() -> dict[str, str]:
    """What config.yaml says of each flag."""
    found, path = {}, []
    for line in (PROJECT / "cfg/config.yaml").read_text().splitlines():
        match = re.match(r"( *)(\w+):([^#]*)(?:# (.*))?$", line)
        if match:
            path = [*path[: len(match[1]) // 2], match[2]]
            found[".".join(path)] = match[4] or ""
    return found


@pytest.mark.parametrize("flag", sorted({*TABLES, *WORDS, *OF_ONE_GENERATOR}))
def test_comments_name_the_choices(flag):
    choices = {**WORDS, **TABLES, **OF_ONE_GENERATOR}[flag]
    comment = comments()[flag]
    named = words_of(comment) | ({"None"} if "null" in comment else set())
    assert {str(choice) for choice in choices} <= named
    listed = re.split(r"[;(]|, as | or empty", re.sub(r"^[A-Za-z, ]+: ", "", comment))[0]
    if flag in TABLES:
        assert words_of(listed) <= {str(choice) for choice in choices}


def test_a_flag_that_is_read_by_its_choices_is_a_flag():
    assert {*TABLES, *WORDS, *FREE_TEXT, *OF_ONE_GENERATOR} <= set(known_flags())


def test_a_number_out_of_range_is_one_sentence(tmp_path):
    flags = ["kernel.input_scale=-3", f"hydra.run.dir={tmp_path}", "debug=True"]
    done = programs.run("run_experiment.py", *flags)
    assert done.returncode == 1
    assert done.stderr.strip() == "error: kernel.input_scale=-3.0: give a number over 0 to 1000000"
