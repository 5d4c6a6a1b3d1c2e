"""What `--help` prints: usage, presets, and every flag with its default and its meaning."""

from __future__ import annotations

import itertools
import re
import textwrap
from dataclasses import dataclass
from pathlib import Path

from program.words.mistakes import preset_names

FLAGS = Path(__file__).resolve().parents[2] / "cfg" / "config.yaml"
COLUMN, WIDTH = 34, 100  # where the meanings begin and end
LINE = re.compile(r"( *)(\w+): *(.*?) *(?:# (.*))?")  # indentation, name, default, meaning


def help_text(name: str, purpose: str) -> str:
    """The help of the program `name`, no line longer than `WIDTH`."""
    groups = itertools.groupby(preset_names(), key=lambda preset: preset.partition("_")[0])
    presets = [columns(f"  {group}", ", ".join(names), column=20) for group, names in groups]
    flags = [_described(line) for line in _page()]
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


@dataclass(frozen=True)
class Flag:
    """A flag as `cfg/config.yaml` has it."""

    name: str  # in full, as train.lr
    default: str
    meaning: str  # its comment


def flags() -> list[Flag]:
    """Every flag, in the order of `cfg/config.yaml`."""
    found: list[Flag] = []
    path: list[str] = []
    for match in filter(None, map(LINE.fullmatch, _page())):
        indent, name, default, meaning = match.groups()
        path[len(indent) // 2 :] = [name]
        if default:
            found.append(Flag(".".join(path), default, meaning or ""))
    return found


def meanings() -> dict[str, str]:
    """What each flag is for, by its full name."""
    return {flag.name: flag.meaning for flag in flags()}


def columns(left: str, right: str, column: int = COLUMN) -> str:
    """A name, and beside it what is to be said of it, wrapped."""
    lines = textwrap.wrap(right, WIDTH - column, break_on_hyphens=False) or [""]
    if len(left) + 1 > column:  # no room beside it
        lines.insert(0, "")
    return "\n".join(f"{a:{column}}{b}".rstrip() for a, b in zip([left, *[""] * len(lines)], lines))


def _page() -> list[str]:
    """The lines of `cfg/config.yaml` that are flags."""
    text = FLAGS.read_text()
    return text[text.index("dataset:") : text.index("\nhydra:")].splitlines()


def _described(line: str) -> str:
    match = LINE.fullmatch(line)
    if match is None:
        return line
    indent, name, default, meaning = match.groups()
    return columns(f"{indent}{name}: {default}".rstrip(), meaning or "")
