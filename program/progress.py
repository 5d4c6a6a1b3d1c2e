"""What a program shows while it works: bars on a terminal, elsewhere a line every so often."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

from program import distributed

EVERY = 30.0  # seconds between two lines where there is no terminal

Item = TypeVar("Item")


def shown(items: Iterable[Item], text: str, total: int, done: int = 0) -> Iterator[Item]:
    """The items after the `done` ones of `total`, and how far they have come: "`text`, 3 of 9"."""
    if not distributed.is_main():
        return iter(items)
    if is_watched():
        return iter(tqdm(items, text, total, initial=done, leave=False))
    return _told(items, text, total, done)


def bar(text: str, total: int, done: int) -> tqdm:
    """A bar to be moved by `update`, as a context; invisible without a terminal."""
    is_hidden = not is_watched() or not distributed.is_main()
    return tqdm(total=total, desc=text, initial=done, leave=False, disable=is_hidden)


def say(text: str) -> None:
    """Print a line at once, above whatever bars there are."""
    tqdm.write(text, file=sys.stdout)
    sys.stdout.flush()


def is_watched() -> bool:
    """Whether somebody at a terminal sees the bars."""
    return sys.stderr.isatty()


def _told(items: Iterable[Item], text: str, total: int, done: int) -> Iterator[Item]:
    started = last = time.monotonic()
    for index, item in enumerate(items, start=done + 1):
        yield item
        now = time.monotonic()
        if now - last >= EVERY and index < total:
            last = now
            left = (now - started) / (index - done) * (total - index)
            say(f"{text}, {index} of {total}, {left:.0f} s left")
