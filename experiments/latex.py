"""The tables as LaTeX, with the rules of the package booktabs."""

from __future__ import annotations

import re
from collections.abc import Sequence

from experiments.tables import Line, cells

COLUMNS = ("result", "paper", "here", "difference", "seeds", "code")
FLAG = re.compile(r" (?=[\w.]+=)")  # between two changed flags
SIGNS = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    "\u2212": "$-$",
    "×": r"$\times$",
    "→": r"$\to$",
} | {sign: f"\\{sign}" for sign in "_%&#${}"}


def latex(lines: list[Line], columns: Sequence[str] = COLUMNS) -> str:
    """A tabular. A row is named by its result and by the flags in which its preset's rows differ.

    Needs `\\usepackage{booktabs}`.
    """
    common = {line.preset: shared(lines, line.preset) for line in lines}
    rows = []
    for line in lines:
        texts = dict(zip(columns, map(escaped, cells(line, columns))))
        own = [flag for flag in flags(line) if flag not in common[line.preset]]
        if own and "result" in texts and "command" not in texts:
            texts["result"] += ", " + ", ".join(f"\\texttt{{{escaped(flag)}}}" for flag in own)
        rows.append(" & ".join(texts.values()))
    alignment = "".join("l" if name in ("result", "command") else "r" for name in columns)
    body = "".join(f"{row} \\\\\n" for row in rows)
    return (
        "% \\usepackage{booktabs}\n"
        f"\\begin{{tabular}}{{{alignment}}}\n\\toprule\n{' & '.join(columns)} \\\\\n\\midrule\n"
        f"{body}\\bottomrule\n\\end{{tabular}}\n"
    )


def flags(line: Line) -> list[str]:
    """The flags in which a line's runs differ from their preset."""
    return FLAG.split(line.changes) if line.changes else []


def shared(lines: list[Line], preset: str) -> set[str]:
    """The changed flags that all lines of a preset have, and that so tell none of them apart."""
    own = [set(flags(line)) for line in lines if line.preset == preset]
    return set.intersection(*own) if len({frozenset(x) for x in own}) > 1 else set()


def escaped(text: str) -> str:
    """A text with LaTeX's own signs written out."""
    return "".join(SIGNS.get(sign, sign) for sign in text)
