"""Programs with a handful of flags of their own, `flag=value`, without presets and run folders."""

from __future__ import annotations

import contextlib
import difflib
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import field, fields
from pathlib import Path
from typing import Any, TypeVar

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from ckconv.errors import UsageError
from program import streams, surroundings
from program.interruption import hang_up
from program.words.help import columns
from program.words.mistakes import sentence, wrong_type

Flags = TypeVar("Flags")


def flag(default: Any, help: str) -> Any:
    """A flag with its default and what `--help` says of it."""
    return field(default=default, metadata={"help": help})


def parse(arguments: Sequence[str], kind: type[Flags]) -> Flags:
    """The flags of a command line. Raises `UsageError` for an unknown one or a wrong type."""
    names = [known.name for known in fields(kind)]
    values = []
    for argument in arguments:
        name, equals, value = argument.partition("=")
        if name not in names or not equals:
            near = difflib.get_close_matches(name, names, n=1)
            hint = f"did you mean {near[0]}=...?" if near else f"there are {', '.join(names)}"
            raise UsageError(f"{argument}: flags are written flag=value; {hint}")
        values.append((name, value, argument))
    return filled(kind, values)


def filled(kind: type[Flags], values: Iterable[tuple[str, str | None, str]]) -> Flags:
    """A dataclass with some values: each with its flag's full name, and with how it was typed.

    Raises `UsageError` for a wrong type.
    """
    config = OmegaConf.structured(kind)
    for name, value, typed in values:
        try:
            OmegaConf.update(config, name, value)
        except OmegaConfBaseException as error:
            raise UsageError(f"{typed}: {wrong_type(error)}") from error
    return OmegaConf.to_object(config)


def plain_program(kind: type[Flags]) -> Callable[[Callable[[Flags], None]], Callable[[], None]]:
    """Turn `run(flags)` into a command-line program; a user's mistake ends with one sentence."""

    def decorate(run: Callable[[Flags], None]) -> Callable[[], None]:
        def main() -> None:
            with_sentences(
                lambda: _help(_name(), run.__doc__ or "", kind),
                lambda arguments: run(parse(arguments, kind)),
            )

        main.__doc__ = run.__doc__
        return main

    return decorate


def with_sentences(help: Callable[[], str], run: Callable[[list[str]], None]) -> None:
    """Print a program's help, or run what was typed; a user's mistake ends with one sentence."""
    surroundings.make_usable()
    arguments = sys.argv[1:]
    try:
        if {"-h", "--help"} & set(arguments):
            print(help(), flush=True)
        else:
            run(arguments)
            sys.stdout.flush()
    except BrokenPipeError:
        hang_up()
    except KeyboardInterrupt:
        _fail("interrupted", 130)
    except Exception as error:
        message = sentence(error)
        if message is None:
            raise
        _fail(message)


def _name() -> str:
    """The program as it is typed behind `python`."""
    spec = sys.modules["__main__"].__spec__
    return f"-m {spec.name}" if spec else Path(sys.argv[0]).name


def _help(name: str, purpose: str, kind: type) -> str:
    lines = [columns(f"  {f.name}={f.default}", f.metadata["help"]) for f in fields(kind)]
    usage = f"usage: python {name} [flag=value ...]"
    return "\n".join([purpose.splitlines()[0], "", usage, "", "flags and their defaults:", *lines])


def _fail(message: str, status: int = 1) -> None:
    streams.flush()
    with contextlib.suppress(OSError):
        print(f"error: {message}", file=sys.stderr, flush=True)
    sys.exit(status)
