"""The flags and presets as `cfg/` has them, read without importing what they configure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

CFG = Path(__file__).resolve().parents[2] / "cfg"
FLAGS, PRESETS = CFG / "config.yaml", CFG / "experiment"
LINE = re.compile(r"( *)(\w+): *(.*?) *(?:# (.*))?")  # indentation, name, default, meaning
WORD = re.compile(r"[A-Za-z][\w+-]*(?:/\w+)*")


@dataclass(frozen=True)
class Flag:
    """A flag as `cfg/config.yaml` has it."""

    name: str  # in full, as train.lr
    default: str
    meaning: str  # its comment

    @property
    def choices(self) -> list[str]:
        """The words that its comment names as values, the default among them; else none."""
        if self.default in ("true", "false"):
            return ["True", "False"]
        text = re.sub(r"\([^()]*\)", "", self.meaning)
        text = text.rpartition(": ")[2]  # before it stands whose flag it is
        parts = [part.strip() for part in re.split("[,;]", text)]
        words = [word for part in parts if WORD.fullmatch(part) for word in _spelt_out(part)]
        return list(dict.fromkeys(words)) if len(words) > 1 and self.default in words else []


def _spelt_out(word: str) -> list[str]:
    """Names that share a beginning, as CIFARResNet20/32: [CIFARResNet20, CIFARResNet32]."""
    first, *others = word.split("/")
    stem = first.rstrip("0123456789")
    return [first, *(stem + other for other in others)]


def page() -> list[str]:
    """The lines of `cfg/config.yaml` that are flags."""
    text = FLAGS.read_text()
    return text[text.index("dataset:") : text.index("\nhydra:")].splitlines()


def flags() -> list[Flag]:
    """Every flag, in the order of `cfg/config.yaml`."""
    found: list[Flag] = []
    path: list[str] = []
    for match in filter(None, map(LINE.fullmatch, page())):
        indent, name, default, meaning = match.groups()
        path[len(indent) // 2 :] = [name]
        if default:
            found.append(Flag(".".join(path), default, meaning or ""))
    return found


def meanings() -> dict[str, str]:
    """What each flag is for, by its full name."""
    return {flag.name: flag.meaning for flag in flags()}


def preset_names() -> list[str]:
    """The names that `+experiment=` takes."""
    return sorted(path.stem for path in PRESETS.glob("[!_]*.yaml"))
