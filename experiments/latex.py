"""The tables as LaTeX, with the rules of the package booktabs."""

from __future__ import annotations

from collections.abc import Sequence

from experiments.tables import Line, named_cells

COLUMNS = ("result", "paper", "here", "difference", "seeds", "code")
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
    named = named_cells(lines, columns, lambda flag: f"\\texttt{{{escaped(flag)}}}", escaped)
    rows = [" & ".join(texts.values()) for texts in named]
    alignment = "".join("l" if name in ("result", "command") else "r" for name in columns)
    body = "".join(f"{row} \\\\\n" for row in rows)
    return (
        "% \\usepackage{booktabs}\n"
        f"\\begin{{tabular}}{{{alignment}}}\n\\toprule\n{' & '.join(columns)} \\\\\n\\midrule\n"
        f"{body}\\bottomrule\n\\end{{tabular}}\n"
    )


def escaped(text: str) -> str:
    """A text with LaTeX's own signs written out."""
    return "".join(SIGNS.get(sign, sign) for sign in text)
