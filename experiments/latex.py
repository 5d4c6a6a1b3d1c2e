"""The tables as LaTeX, with the rules of the package booktabs."""

from __future__ import annotations

from collections.abc import Sequence

from experiments.tables import Line, cells, telling

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
    rows = []
    for line, own in zip(lines, telling(lines)):
        texts = dict(zip(columns, map(escaped, cells(line, columns))))
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


def escaped(text: str) -> str:
    """A text with LaTeX's own signs written out."""
    return "".join(SIGNS.get(sign, sign) for sign in text)
