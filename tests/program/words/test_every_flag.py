"""Every flag with every kind of nonsense: used, or refused in one sentence that names the flag."""

from __future__ import annotations

from cfg.flags import known_flags
from cfg.schema import Config

import copy
import dataclasses
import signal
import typing
from collections.abc import Iterator

import hydra
import pytest
import torch
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf

from ckconv.fields import Range
from datasets import describe
from models import build_model
from program.command_line import CONFIG_FOLDER, check_flags, register
from program.words.arguments import readable_arguments
from program.words.mistakes import sentence
from training.crossres.check import check, settle, source_task
from training.memory import check_memory
from training.network import fix_kernel_sizes
from training.optimizer import build_optimizer
from training.schedule import Schedule
from training.validate import validate, validate_task

NONSENSE = (
    *("nan", "inf", "-inf", "-1", "0", "1e-300", "1e300", "1000000000", "1.5", "", "null"),
    *("[]", "[nan,1]", "[-1,2]", "{a: 1}", "${nope}", "words", "True", "'1 2'"),
)
SMALL = ["debug=True", "device=cpu", "net.no_hidden=4", "kernel.no_hidden=8"]
READ_WITH = {  # by the beginning of the flags' names: what else must be typed for them to be read
    "kernel.activ_function": ["kernel.type=MLP"],
    "kernel.norm": ["kernel.type=MLP"],
    "kernel.init": ["kernel.type=SIREN"],
    "kernel.init_spatial_value": [],
    "kernel.learn_omega_0": ["kernel.type=SIREN"],
    "kernel.omega_0": ["kernel.type=SIREN"],
    "kernel.regularize_params": ["kernel.regularize=True"],
    "kernel.srf": ["conv.type=SRF"],
    "kernel.weight_norm": ["kernel.type=SIREN"],
    "train.optimizer_params": ["train.optimizer=SGD"],
    "train.scheduler_params.decay": ["train.scheduler=multistep"],
    "train.scheduler_params.decay_factor": [
        "train.scheduler=multistep",
        "train.scheduler_params.decay_steps=[4]",
    ],
    "train.scheduler_params.patience": ["train.scheduler=plateau"],
    "dataset_params.columns": ["dataset=Digits"],
    "dataset_params.memory_size": ["dataset=CopyMemory"],
    "dataset_params.seq_length": ["dataset=AddProblem"],
    "dataset_params.sr_": ["dataset=sDigits"],
    "cross_res": ["dataset=CIFAR10", "cross_res.source_res=16", "cross_res.target_res=32"],
}


def fields_of(kind: type = Config, prefix: str = "") -> Iterator[tuple[str, dataclasses.Field]]:
    types = typing.get_type_hints(kind)
    for field in dataclasses.fields(kind):
        if dataclasses.is_dataclass(types[field.name]):
            yield from fields_of(types[field.name], f"{prefix}{field.name}.")
        else:
            yield prefix + field.name, field


def ends(allowed: Range, is_list: bool) -> list[str]:
    """The ends of a range, as they are typed."""
    numbers = [f"{end:.0f}" if end == int(end) else str(end) for end in (allowed.low, allowed.high)]
    numbers = [one for one in numbers if len(one) < 12]
    return [f"[{one}]" for one in numbers] if is_list else numbers


def cases() -> list[tuple[str, str]]:
    """Each flag, and each of what is typed for it."""
    found = []
    for flag, field in fields_of():
        found += [(flag, f"{flag}={value}") for value in NONSENSE]
        found += [(flag, f"~{flag}"), (flag, f"{flag.upper()}=1")]
        if isinstance(field.default, str):
            found.append((flag, f"{flag}={field.default.swapcase()}"))
        if "range" in field.metadata:
            is_list = field.default_factory is not dataclasses.MISSING
            found += [(flag, f"{flag}={end}") for end in ends(field.metadata["range"], is_list)]
    return found


@pytest.fixture(scope="module")
def base() -> DictConfig:
    register()
    with hydra.initialize_config_dir(str(CONFIG_FOLDER), version_base="1.3"):
        return hydra.compose("config")


def composed(base: DictConfig, typed: list[str]) -> DictConfig:
    """As `hydra.compose` does, which reads the files anew every time."""
    cfg = copy.deepcopy(base)
    OmegaConf.set_struct(cfg, True)
    overrides = OverridesParser.create().parse_overrides(readable_arguments(typed))
    ConfigLoaderImpl._apply_overrides_to_config(overrides, cfg)
    return check_flags(cfg)


def train_a_step(cfg: DictConfig, is_crossres: bool) -> bool:
    """Whether weights are finite after a step of the training that the flags describe."""
    validate(cfg)
    if is_crossres:
        check(cfg)
        cfg = settle(cfg)
    task = source_task(cfg) if is_crossres else describe(cfg)
    validate_task(cfg, task)
    check_memory(cfg, task, torch.device("cpu"))
    torch.manual_seed(0)
    model = build_model(cfg, task)
    fix_kernel_sizes(model, task)
    optimizer = build_optimizer(model, cfg.train)
    Schedule(optimizer, cfg.train, 3, True, cfg.train.epochs)
    model(torch.randn(2, task.in_channels, *task.size)).square().mean().backward()
    optimizer.step()
    return all(p.isfinite().all() for p in model.parameters())


def answer(base: DictConfig, flag: str, typed: str) -> str:
    """What is wrong with how a flag is answered; nothing where it is right."""
    near = [start for start in READ_WITH if flag.startswith(start)]
    others = [*SMALL, *READ_WITH[max(near, key=len)]] if near else SMALL
    others = [other for other in others if not other.startswith(f"{flag}=")]
    is_composed = False
    try:
        cfg = composed(base, [*others, typed])
        is_composed = True
        is_crossres = flag in ("cross_res.source_res", "cross_res.target_res")
        return "" if train_a_step(cfg, is_crossres) else "weights are not finite"
    except Exception as error:
        said = sentence(error, composing=not is_composed)
        if said is None:
            return repr(error)
        is_named = flag.lower() in said.lower() or "does not fit into memory" in said
        return "" if is_named and "\n" not in said else said


def too_long(*_: object) -> None:
    raise TimeoutError("hangs")


def failures(base: DictConfig, chosen: list[tuple[str, str]]) -> dict[str, str]:
    """What is answered wrongly, and how."""
    before, found = signal.signal(signal.SIGALRM, too_long), {}
    try:
        for flag, typed in chosen:
            signal.alarm(60)
            if wrong := answer(base, flag, typed):
                found[typed] = wrong
            signal.alarm(0)
    finally:
        signal.signal(signal.SIGALRM, before)
    return found


def test_some_of_all_flags_and_values(base):
    assert failures(base, cases()[::61]) == {}


@pytest.mark.slow
def test_all_flags_and_values(base):
    chosen = cases()
    assert len(chosen) > 20 * len(known_flags())
    assert failures(base, chosen) == {}
