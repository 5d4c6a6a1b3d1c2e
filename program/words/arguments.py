"""What was typed, as Hydra reads it: paths and texts quoted, options behind the flags."""

from __future__ import annotations

from cfg.flags import PATHS, TEXTS, known_flags

import os
import re
import typing
from collections.abc import Sequence

from hydra._internal.utils import get_args_parser
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

from ckconv.errors import UsageError
from program import distributed

SWITCHES = (bool, bool | None)


def readable_arguments(arguments: Sequence[str]) -> list[str]:
    """A command line with its options (`--multirun`) after its flags, and those by `readable`.

    Raises `UsageError` for an option that does not exist, and for one that cannot be.
    """
    parser = get_args_parser()
    parser.error = _unknown_option
    known = parser.parse_intermixed_args(arguments)
    if known.multirun and distributed.world_size() > 1:
        raise UsageError(
            "--multirun: torchrun trains one network in several processes; start a torchrun for "
            "every value, or leave torchrun out"
        )
    options = list(arguments)
    for override in known.overrides:
        options.remove(override)
    return [*readable(known.overrides, known.multirun), *options]


def readable(overrides: Sequence[str], is_sweep: bool = False) -> list[str]:
    """Flags with their paths and texts quoted where Hydra's grammar would read something else.

    A path may start with ~, and hold whatever a path may; in a sweep commas stand between several.
    Raises `UsageError` for a flag that is to be removed, and for numbers of no sense in switches.
    """
    parser, flags = OverridesParser.create(), known_flags()
    for override in overrides:
        flag, _, value = override.partition("=")
        if not flag.strip("+ "):
            raise UsageError(f"{override}: has no flag before the =; write flag=value")
        if flags.get(flag) in SWITCHES and any(map(_is_count, value.split(","))):
            raise UsageError(f"{override}: give True or False")
        if override.startswith("~") and not override.startswith("~hydra"):
            flag = override[1:].partition("=")[0]
            raise UsageError(
                f"{override}: a flag cannot be removed; leave {flag} out for its default, or give "
                "it another value"
            )
    return [_readable(override, is_sweep, parser) for override in overrides]


def _readable(override: str, is_sweep: bool, parser: OverridesParser) -> str:
    flag, equals, value = override.partition("=")
    name = flag.lstrip("+")
    if not equals or name not in TEXTS:
        return override
    if name in PATHS and value.startswith("~"):
        value = os.path.expanduser(value)
    try:
        read = parser.parse_override(f"{flag}={value}")
    except HydraException:
        parts = value.split(",") if is_sweep and "," in value else []
        if parts:
            single = [_readable(f"{flag}={part}", False, parser) for part in parts]
            return f"{flag}={','.join(one.removeprefix(f'{flag}=') for one in single)}"
        return f"{flag}={_quoted(value)}"
    if read.is_sweep_override():
        is_text = not is_sweep
    elif read.value() is None and not name.startswith("hydra."):
        return f'{flag}=""'
    else:
        is_text = not isinstance(read.value(), str | bool | None)
    return f"{flag}={_quoted(value) if is_text else value}"


def _is_count(value: str) -> bool:
    """Whether it is a whole number which Hydra would take for True."""
    return bool(re.fullmatch(r"[+-]?\d+", value)) and int(value) not in (0, 1)


def _quoted(value: str) -> str:
    """A text between double quotes, as Hydra's grammar has them."""
    ending = len(value) - len(value.rstrip("\\"))  # those before a quote would escape it
    text = value + "\\" * ending
    return '"' + text.replace('"', '\\"') + '"'


def _unknown_option(message: str) -> typing.NoReturn:
    raise UsageError(f"{message}; flags are written flag=value, and --help lists them")
