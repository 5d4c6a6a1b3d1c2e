"""What `--help` prints: usage, presets, and every flag with its default and its meaning."""

from __future__ import annotations

import itertools
import textwrap

from program.words.page import LINE, page, preset_names

COLUMN, WIDTH = 34, 100  # where the meanings begin and end


def help_text(name: str, purpose: str) -> str:
    """The help of the program `name`, no line longer than `WIDTH`."""
    groups = itertools.groupby(preset_names(), key=lambda preset: preset.partition("_")[0])
    presets = [columns(f"  {group}", ", ".join(names), column=20) for group, names in groups]
    flags = [_described(line) for line in page()]
    return "\n".join(
        [
            f"{purpose.splitlines()[0]}\n",
            f"usage: python {name} [flag=value ...] [+experiment=preset] [--multirun]\n",
            "presets, by their first word:\n",
            *presets,
            "\nflags, by their full names (as train.lr=0.001), with their defaults:\n",
            *flags,
        ]
    )


def columns(left: str, right: str, column: int = COLUMN) -> str:
    """A name, and beside it what is to be said of it, wrapped."""
    lines = textwrap.wrap(right, WIDTH - column, break_on_hyphens=False) or [""]
    if len(left) + 1 > column:  # no room beside it
        lines.insert(0, "")
    return "\n".join(f"{a:{column}}{b}".rstrip() for a, b in zip([left, *[""] * len(lines)], lines))


def _described(line: str) -> str:
    match = LINE.fullmatch(line)
    if match is None:
        return line
    indent, name, default, meaning = match.groups()
    return columns(f"{indent}{name}: {default}".rstrip(), meaning or "")
