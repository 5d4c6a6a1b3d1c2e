"""The command line of a fit: `--config.key value` into settings, and what mistakes print."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import fields
from typing import Any

from ckconv.errors import UsageError
from ckernel_fitting.settings import MEANINGS, S, Settings, flat, paths
from program.words.help import columns
from program.words.page import meanings
from program.words.plain import filled, with_sentences

UNSET = ("", "None", "null")
SWITCH = ("true", "1", "yes", "false", "0", "no")  # what may follow the name of a switch


def parse(arguments: Sequence[str], kind: type[S] = Settings) -> tuple[S, set[str]]:
    """Settings from a command line, and the names of those it gave.

    An argument is `--config.key value`, `--config.key=value` or `key=value`; a switch may stand
    without its value. Raises `UsageError` for an unknown key, with the nearest known one, and for
    a value of the wrong type.
    """
    where, defaults = paths(kind), flat(kind())
    values = {}
    rest = list(arguments)
    while rest:
        argument = rest.pop(0)
        key, equals, value = argument.partition("=")
        name = _setting(key.removeprefix("--").removeprefix("config."), where)
        if not equals:
            if not argument.startswith("--"):
                raise UsageError(f"{argument}: write {name}=value or --config.{name} value")
            if isinstance(defaults[name], bool) and (not rest or rest[0].lower() not in SWITCH):
                value = "True"
            elif rest:
                value = rest.pop(0)
            else:
                raise UsageError(f"--config.{name}: give a value")
        is_unset = defaults[name] is None and value in UNSET
        values[name] = (where[name], None if is_unset else value, f"{name}={value}")
    return filled(kind, values.values()), set(values)


def _setting(key: str, where: Mapping[str, str]) -> str:
    """The setting that `key` names: as published, without the prefix `kernelnet_`, or in full."""
    key = key.replace("-", "_")
    names = {path: name for name, path in where.items()} | {name: name for name in where}
    for known in (key, f"kernelnet_{key}", key.removeprefix("kernelnet_")):
        if known in names:
            return names[known]
    near = difflib.get_close_matches(key, where, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]}?" if near else "--help lists all settings"
    raise UsageError(f"{key}: there is no such setting; {hint}")


def help_text(
    program: str, purpose: str, kind: type[Settings] = Settings, hidden: Collection[str] = ()
) -> str:
    """What `--help` prints: every setting that is not `hidden`, its default and meaning.

    The settings that `kind` adds or changes come first.
    """
    meaning = meanings() | {own.name: own.metadata.get("help", "") for own in fields(kind)}
    meaning |= MEANINGS
    defaults, where = flat(kind()), paths(kind)
    names = [name for name in where if name not in hidden]
    if kind is not Settings:
        names.sort(key=lambda name: name not in vars(kind))
    return "\n".join(
        [
            f"{purpose}\n\nusage: python {program} "
            "[--config.key value | --config.key=value | key=value ...]\n\n"
            "settings and their defaults:",
            *(columns(f"  {n}={_shown(defaults[n])}", meaning[where[n]]) for n in names),
        ]
    )


def _shown(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def program(
    name: str,
    purpose: str,
    run: Callable[[S, set[str]], None],
    kind: type[S] = Settings,
    hidden: Collection[str] = (),
) -> None:
    """Read the command line and call `run(settings, given)`; `--help` leaves `hidden` out."""
    with_sentences(
        lambda: help_text(name, purpose, kind, hidden),
        lambda arguments: run(*parse(arguments, kind)),
    )
