"""What a setting may be, said where it is declared: the range of a number, the choice of words."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

from ckconv.errors import UsageError, check_choice

LARGEST, SMALLEST = 3.4e38, 1.2e-38  # what float32 holds; what is less is 0 in it
UNSAID = 1e9  # an upper end from here on is not worth saying


@dataclass(frozen=True)
class Range:
    """The numbers from `low` to `high`, without the ends that are open. Never nan or infinity."""

    low: float
    high: float
    is_low_open: bool = False
    is_high_open: bool = False

    def holds(self, value: float) -> bool:
        above = value > self.low if self.is_low_open else value >= self.low
        if self.is_low_open and self.low == 0:
            above = value >= SMALLEST
        below = value < self.high if self.is_high_open else value <= self.high
        return math.isfinite(value) and above and below

    def __str__(self) -> str:
        if self.high >= UNSAID:
            return f"a number {'over' if self.is_low_open else 'of at least'} {self.low}"
        if self.is_low_open and self.is_high_open:
            return f"a number between {self.low} and {self.high}"
        first = f"a number {'over' if self.is_low_open else 'from'} {self.low}"
        return f"{first} to {'below ' if self.is_high_open else ''}{self.high}"


def number(
    default: Any,
    *,
    over: float | None = None,
    at_least: float | None = None,
    below: float | None = None,
    at_most: float | None = None,
    or_word: str | None = None,
) -> Any:
    """A dataclass field of a number, or of a list of numbers, and the range it is in.

    `or_word` may stand in the number's place.
    """
    low = over if over is not None else -LARGEST if at_least is None else at_least
    high = below if below is not None else LARGEST if at_most is None else at_most
    metadata = {"range": Range(low, high, over is not None, below is not None), "word": or_word}
    if isinstance(default, list):
        return dataclasses.field(default_factory=lambda: list(default), metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def choice(default: Any, choices: Iterable[object]) -> Any:
    """A dataclass field of one of `choices`; no value and an empty one are the choice `None`.

    In Python it may also be a tuple of them, one per axis.
    """
    return dataclasses.field(default=default, metadata={"choices": tuple(choices)})


def check(kind: type, settings: object, prefix: str = "") -> None:
    """Raise `UsageError`, naming the field, for settings that a dataclass does not allow.

    Looks at every field's range or choice, into the dataclasses within, and asks each for what
    does not go together, by its method `check_together`.

    Args:
        kind: the dataclass.
        settings: an instance, or anything with the same fields, as a composed config.
        prefix: what comes before the fields' names, as `kernel.`.
    """
    for field in dataclasses.fields(kind):
        flag, value = prefix + field.name, getattr(settings, field.name)
        if dataclasses.is_dataclass(field.default_factory):
            check(field.default_factory, value, f"{flag}.")
        elif "range" in field.metadata:
            _check_range(flag, value, field)
        elif "choices" in field.metadata:
            for one in value if isinstance(value, tuple) else (value,):
                check_choice(
                    flag, one if one not in (None, "") else "None", field.metadata["choices"]
                )
    if hasattr(kind, "check_together"):
        kind.check_together(settings)


def _check_range(flag: str, value: Any, field: dataclasses.Field) -> None:
    allowed, word = field.metadata["range"], field.metadata["word"]
    if word and isinstance(value, str) and value.lower() == word:
        check_choice(flag, value, (word,))
        return
    if value is None and "None" in field.type:
        return
    is_list = isinstance(value, Sequence) and not isinstance(value, str)
    values = list(value) if is_list else [value]
    is_whole = "int" in field.type and "float" not in field.type
    for one in values:
        is_number = isinstance(one, Integral if is_whole else Real) and not isinstance(one, bool)
        if is_number and allowed.holds(one):
            continue
        wrong = f"{flag}={values if is_list else one}"
        told = str(allowed).replace("a number", "a whole number") if is_whole else allowed
        other = f", or {word}" if word else ""
        raise UsageError(f"{wrong}: give {told}{_at_fault(one, allowed, is_number)}{other}")


def _at_fault(given: Any, allowed: Range, is_number: bool) -> str:
    """Said of a number whose fault is not seen in the range."""
    if is_number and UNSAID <= allowed.high < given:
        return "; this is too large"
    if is_number and 0 == allowed.low < given < SMALLEST:
        return "; this is too small"
    return ""
