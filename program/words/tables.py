"""Rows of text as tables: padded for a terminal, or in Markdown."""

from __future__ import annotations

from collections.abc import Callable, Sequence


def padded(
    head: Sequence[str],
    rows: Sequence[Sequence[str]],
    align: Callable[[str, int], str] = str.rjust,
    rule: str = "",
) -> str:
    """Rows under their heads: the first column to the left, the others as `align` puts them.

    `rule` is the character, if any, of a line under the heads.
    """
    widths = [max(map(len, column)) for column in zip(head, *rows)]
    every = [head, *([[rule * width for width in widths]] if rule else []), *rows]
    lines = [[row[0].ljust(widths[0]), *map(align, row[1:], widths[1:])] for row in every]
    return "\n".join("  ".join(line).rstrip() for line in lines)


def layout(rows: Sequence[tuple[str, str]]) -> str:
    """Rows of (name, text) between two lines."""
    width = max(len(name) for name, _ in rows)
    line = "-" * (width + 2 + max(len(text) for _, text in rows))
    return "\n".join([line, *(f"{name:<{width}}  {text}" for name, text in rows), line])


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]], rule: str = "---:") -> str:
    """A table in Markdown: `rule` says how the columns after the first are aligned."""
    lines = [head, ["---", *[rule] * (len(head) - 1)], *rows]
    return "\n".join("|" + "".join(f" {x} |" if x else " |" for x in line) for line in lines)
