"""The command line of a fit: `--config.key value` into settings, and what mistakes print."""

from __future__ import annotations

import dataclasses
import difflib
import math
import sys
import textwrap
import types
import typing
from collections.abc import Callable, Collection, Sequence
from typing import Any, TypeVar

from ckconv.errors import UsageError
from ckernel_fitting.settings import Settings
from program.interruption import hang_up

HELP_COLUMN, HELP_WIDTH = 34, 100
SWITCH = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
S = TypeVar("S", bound=Settings)


def parse(arguments: Sequence[str], kind: type[S] = Settings) -> tuple[S, set[str]]:
    """Settings from a command line, and the names of those it gave.

    An argument is `--config.key value`, `--config.key=value` or `key=value`; a switch may stand
    without its value. Raises `UsageError` for an unknown key, with the nearest known one, and for
    a value of the wrong type.
    """
    types_of = typing.get_type_hints(kind)
    given: dict[str, Any] = {}
    rest = list(arguments)
    while rest:
        argument = rest.pop(0)
        key, equals, value = argument.partition("=")
        name = _field_name(key.removeprefix("--").removeprefix("config."), kind)
        if not equals:
            if not argument.startswith("--"):
                raise UsageError(f"{argument}: write {name}=value or --config.{name} value")
            is_switch = types_of[name] is bool
            if is_switch and (not rest or rest[0].lower() not in SWITCH):
                value = "True"
            elif rest:
                value = rest.pop(0)
            else:
                raise UsageError(f"--config.{name}: give a value")
        given[name] = _convert(name, value, types_of[name])
    return kind(**given), set(given)


def _field_name(key: str, kind: type[Settings]) -> str:
    """The field that `key` names, with or without the published prefix `kernelnet_`."""
    names = [field.name for field in dataclasses.fields(kind)]
    key = key.replace("-", "_").replace("wandb.", "wandb_")
    for name in (key, f"kernelnet_{key}", key.removeprefix("kernelnet_")):
        if name in names:
            return name
    near = difflib.get_close_matches(key, names, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]}?" if near else "--help lists all settings"
    raise UsageError(f"{key}: there is no such setting; {hint}")


def _convert(name: str, text: str, kind: Any) -> Any:
    if isinstance(kind, types.UnionType):
        if text in ("", "None"):
            return None
        kind = typing.get_args(kind)[0]
    if kind is str:
        return text
    if kind is bool:
        if text.lower() not in SWITCH:
            raise UsageError(f"{name}={text}: give True or False")
        return SWITCH[text.lower()]
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if kind is int and not value.is_integer():
        raise UsageError(f"{name}={text}: give a whole number")
    if not math.isfinite(value):
        raise UsageError(f"{name}={text}: give a number")
    return int(value) if kind is int else value


def help_text(
    program: str,
    purpose: str,
    kind: type[Settings] = Settings,
    hidden: Collection[str] = (),
) -> str:
    """What `--help` prints: every setting that is not `hidden`, its default and meaning.

    The settings that `kind` adds or changes come first.
    """
    fields = [field for field in dataclasses.fields(kind) if field.name not in hidden]
    if kind is not Settings:
        fields.sort(key=lambda field: field.name not in vars(kind))
    lines = []
    for field in fields:
        name = f"  {field.name}={_shown(field.default)}"
        meaning = textwrap.wrap(field.metadata["help"], HELP_WIDTH - HELP_COLUMN)
        if len(name) >= HELP_COLUMN:
            lines.append(name)
            name = ""
        for line in meaning:
            lines.append(f"{name:{HELP_COLUMN}}{line}")
            name = ""
    return (
        f"{purpose}\n\nusage: python {program} [--config.key value | --config.key=value | "
        "key=value ...]\n\nsettings and their defaults:\n" + "\n".join(lines)
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
    """Read the command line and call `run(settings, given)`; `--help` leaves `hidden` out.

    A mistake of the user ends with one sentence on stderr and exit status 1.
    """
    arguments = sys.argv[1:]
    try:
        if {"-h", "--help"} & set(arguments):
            print(help_text(name, purpose, kind, hidden), flush=True)
        else:
            run(*parse(arguments, kind))
        sys.stdout.flush()
    except BrokenPipeError:
        hang_up()
    except UsageError as error:
        message, status = str(error), 1
    except OSError as error:
        if error.filename is None:
            raise
        message, status = f"{error.filename}: {error.strerror}", 1
    except KeyboardInterrupt:
        message, status = "interrupted", 130
    else:
        return
    sys.stdout.flush()
    print(f"error: {message}", file=sys.stderr, flush=True)
    sys.exit(status)
