"""The one exception for mistakes that a user can mend."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from numbers import Integral
from typing import TypeVar

Chosen = TypeVar("Chosen")


class UsageError(ValueError):
    """A flag, argument or file that cannot be used as given.

    The message is one sentence for the person at the terminal: which flag or file, what was
    given, and what would do. The command-line programs print it without a stack trace.
    """


def reason(error: Exception, most: int = 200) -> str:
    """What an error says, on one line and in `most` letters; its kind where it says nothing."""
    return " ".join(str(error).split())[:most] or type(error).__name__


def check_count(name: str, given: object, least: int = 1) -> None:
    """Raise `UsageError` naming an argument unless it is a whole number of at least `least`."""
    if not is_whole(given) or given < least:
        raise UsageError(f"{name}={given}: give a whole number of at least {least}")


def is_whole(given: object) -> bool:
    """Whether it is a whole number, one of NumPy's too; True and False are none."""
    return isinstance(given, Integral) and not isinstance(given, bool)


def check_choice(flag: str, given: object, choices: Iterable[str]) -> None:
    """Raise `UsageError` naming `flag` unless `given` is one of `choices`."""
    choices = [str(choice) for choice in choices]
    if str(given) in choices:
        return
    for choice in choices:
        if choice.lower() == str(given).lower():
            raise UsageError(f"{flag}={given}: unknown; capitals matter, write {flag}={choice}")
    near = difflib.get_close_matches(str(given), choices, n=1, cutoff=0.5)
    hint = f"; did you mean {near[0]}?" if near else ""
    raise UsageError(f"{flag}={given}: unknown; choose one of {', '.join(choices)}{hint}")


def pick(flag: str, given: str, table: Mapping[str, Chosen]) -> Chosen:
    """The entry `given` of a table of choices; `UsageError`, naming `flag`, where there is none."""
    check_choice(flag, given, table)
    return table[given]
