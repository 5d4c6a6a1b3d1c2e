"""What is read back from a run's folder is looked at like any data from a file."""

from __future__ import annotations

import copy
import dataclasses
import functools
import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ckconv import checkpoint
from training.finite import not_finite
from training.report.progress import Progress

PARTS = {  # of a `last.pt`
    "model": dict,
    "optimizer": dict,
    "schedule": dict,
    "random": list,
    "progress": dict,
    "data": dict,
    "config": dict,
    "log": dict,
}


NEEDED = {"lr", "params", "last_epoch", "base_lrs"}
OPTIMIZER_STATE = {
    torch.optim.Adam: {"step", "exp_avg", "exp_avg_sq"},
    torch.optim.SGD: set(),
    torch.optim.RMSprop: {"step", "square_avg"},
}


class DoesNotFit(ValueError):
    """Content of a file that is not what belongs there."""


fitting = functools.partial(
    checkpoint.fitting,
    misfit="does not fit this run",
    advice="give a folder whose files belong together and to this version of the code, or start a "
    "new run",
)


def check_saved(saved: Mapping[str, Any]) -> None:
    """Raise an error for the content of a `last.pt` that no run can have written."""
    for name, kind in PARTS.items():
        _check(isinstance(saved[name], kind), f"{name} is a {type(saved[name]).__name__}")
    for part in ("model", "data"):
        _check(all(isinstance(v, Tensor) for v in saved[part].values()), f"{part} is no tensors")
    wandb_id = saved["log"]["wandb_id"]
    _check(wandb_id is None or isinstance(wandb_id, str), "log is damaged")
    for state in saved["random"]:
        _check(isinstance(state["cpu"], Tensor), "random is damaged")
    check_progress(saved["progress"])


def check_progress(values: Mapping[str, Any]) -> None:
    """Raise an error for epochs, results or rows that contradict each other."""
    known = {field.name for field in dataclasses.fields(Progress)}
    _check(set(values) <= known, f"progress has {sorted(set(values) - known)}")
    epoch, best_epoch, history = (values[k] for k in ("epoch", "best_epoch", "history"))
    counts = all(type(value) is int for value in (epoch, best_epoch))
    _check(counts and 0 <= best_epoch <= epoch, f"epoch {epoch}, best epoch {best_epoch}")
    best = values["best"]
    _check((best is None) == (best_epoch == 0), f"best epoch {best_epoch}, best result {best}")
    _check(best is None or _is_number(best), f"best result {best}")
    _check(_is_number(values["seconds"]) and values["seconds"] >= 0, "seconds")
    _check(isinstance(values["best_loss"], int | float), "best loss")
    _check(
        isinstance(history, list) and [row["epoch"] for row in history] == [*range(1, epoch + 1)],
        f"{len(history)} rows of {epoch} epochs",
    )
    for row in history:
        _check(_is_number(row["lr"]) and all(map(_is_number, row.values())), "a row of an epoch")
    commits = values.get("commits", [])
    _check(isinstance(commits, list) and all(isinstance(c, str) for c in commits), "commits")
    _check_part(values["part"])


def _check_part(part: Any) -> None:
    """Look at what is kept of an epoch in which a run was stopped."""
    _check(isinstance(part, dict), "part of an epoch")
    if part:
        _check(type(part["steps"]) is int and part["steps"] >= 0, f"{part['steps']} steps")
        _check(_is_number(part["lr"]) and _is_number(part["seconds"]), "part of an epoch")
        sums = part["sums"]
        _check(isinstance(sums, list) and all(map(_is_number, sums)), "sums")


def check_alike(given: Any, own: Any, name: str) -> None:
    """Raise an error unless `given` has the shapes, lengths and types that `own` has.

    Settings that only one of them knows, as versions of PyTorch differ in, are let pass.
    """
    if isinstance(own, Mapping):
        _check(isinstance(given, Mapping), f"{name} is a {type(given).__name__}")
        for key in NEEDED & own.keys():
            _check(key in given, f"{name}.{key} is missing")
        for key in own.keys() & given.keys():
            check_alike(given[key], own[key], f"{name}.{key}")
    elif isinstance(own, list | tuple):
        fits = isinstance(given, list | tuple) and len(given) == len(own)
        _check(fits, f"{name} is another list")
        for index, (one, other) in enumerate(zip(given, own)):
            check_alike(one, other, f"{name}.{index}")
    elif isinstance(own, Tensor):
        _check(isinstance(given, Tensor), f"{name} is a {type(given).__name__}")
        fits = given.shape == own.shape and given.dtype == own.dtype
        _check(fits, f"{name} is {tuple(given.shape)} of {given.dtype}")
    elif isinstance(own, int | float) and not isinstance(own, bool):
        _check(isinstance(given, int | float), f"{name} is {given!r}")
    else:
        _check(own is None or isinstance(given, type(own)), f"{name} is {given!r}")


def check_weights_of(state: Mapping[str, Any], model: nn.Module, name: str) -> None:
    """Raise an error for a state dict that is not one of `model`, or that is not finite."""
    check_alike(state, model.state_dict(), name)
    copy.deepcopy(model).load_state_dict(state)  # it says what is missing, by its own rules
    odd = not_finite(state)
    _check(odd is None, f"{name}: {odd} is not finite")
    for key, value in state.items():
        if not value.is_floating_point():  # sizes of kernels, counts of batches
            _check(not (value < 0).any(), f"{name}.{key} is negative")


def check_optimizer(state: Mapping[str, Any], optimizer: torch.optim.Optimizer) -> None:
    """Raise an error for the state of another optimizer, or of other parameters."""
    check_alike(state["param_groups"], optimizer.state_dict()["param_groups"], "optimizer")
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    needed = OPTIMIZER_STATE.get(type(optimizer), set())
    for index, values in state["state"].items():
        _check(needed <= values.keys(), f"optimizer.{index} has no {sorted(needed)}")
        for name, value in values.items():
            shapes = (torch.Size(), parameters[index].shape)
            fits = value is None or (isinstance(value, Tensor) and value.shape in shapes)
            _check(fits, f"optimizer.{index}.{name} has another shape")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _check(condition: bool, problem: str) -> None:
    if not condition:
        raise DoesNotFit(problem)
