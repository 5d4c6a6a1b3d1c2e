"""Tables of the papers' figures, ours, and what lies between them: Markdown, CSV, LaTeX."""

from __future__ import annotations

import csv
import functools
import io
import re
import textwrap
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import yaml

from ckconv.errors import UsageError
from experiments.runs import CHANGED, Row
from program.command_line import compose
from program.files import write_csv
from program.words import tables

FOLDER = Path(__file__).resolve().parent
PAPER = FOLDER / "paper.yaml"
COSTS = FOLDER / "costs.csv"  # hours of one CPU core, from measured steps
RESULTS = FOLDER / "results.csv"  # every figure that was written to the readme
README = FOLDER / "readme.md"
OVERVIEW = FOLDER.parent / "README.md"  # shows what was measured here
MEASURED = "measured"  # the mark of that table
FIGURES = {
    "accuracy": "",
    "mse": "mean squared error",
    "auc": "area under the ROC curve",
    "top5": "top 5",
    "source": "at the source resolution",
    "difference": "change at the target, as is",
    "fine_tuned": "after fine-tuning",
}
HEADER = (
    *("result", "command", "paper", "here", "difference", "seeds", "code"),
    *("their weights, here", "cost"),
)
COLUMNS = (*HEADER, "parameters", "sizes", "seconds")
FLAG = re.compile(r" (?=[\w.]+=)")  # between two changed flags
MARKED = re.compile(r"(<!-- table: (\w+) -->\n).*?(<!-- end of table -->)", re.DOTALL)


@dataclass(frozen=True)
class Line:
    """A line of a table: what a preset gives in the paper and here."""

    section: str
    title: str
    preset: str
    changes: str
    figure: str
    paper: tuple[float, ...]  # mean, standard deviation; or the mean alone; or nothing
    here: Row | None
    weights: float | None = None  # what published weights give here
    cost: str = ""  # of a run


def read_paper(path: Path = PAPER) -> dict[str, dict[str, dict]]:
    """Titles and figures of all presets, by section and name."""
    return yaml.safe_load(path.read_text())


@functools.cache
def costs(path: Path = COSTS) -> dict[str, float]:
    """Hours of one CPU core that a run of each preset takes, as `experiments.cost` measured it."""
    with open(path, newline="") as file:
        return {row["preset"]: float(row["hours"]) for row in csv.DictReader(file)}


def cost_of(preset: str, changes: str) -> str:
    """What a run costs; with changed flags it is known where these are the epochs alone."""
    hours = costs().get(preset)
    name, _, epochs = changes.partition("=")
    if hours is None or (changes and (name != "train.epochs" or not epochs.isdigit())):
        return ""
    if changes:
        hours *= int(epochs) / compose([f"+experiment={preset}"]).train.epochs
    return hours_text(hours)


def hours_text(hours: float) -> str:
    """Hours of one CPU core in a few digits."""
    return f"{hours * 60:.0f} min" if hours < 1 else f"{hours:,.{1 if hours < 10 else 0}f} h"


def make_lines(rows: Iterable[Row], paper: dict[str, dict[str, dict]]) -> list[Line]:
    """A line for every figure of every preset, and for every row."""
    by_preset: dict[str, list[Row]] = {}
    for row in rows:
        by_preset.setdefault(row.preset, []).append(row)
    lines = []
    for section, presets in paper.items():
        for preset, entry in presets.items():
            lines += _lines_of(section, preset, entry, by_preset.pop(preset, []))
    for preset, left in by_preset.items():
        lines += _lines_of("others", preset, {"title": preset}, left)
    return lines


def _lines_of(section: str, preset: str, entry: dict, rows: list[Row]) -> list[Line]:
    """A preset's own lines, then those of runs with changed flags."""
    published = {name: tuple(value) for name, value in entry.items() if name in FIGURES}
    own = {row.figure: row for row in rows if not row.changes}
    names = [name for name in FIGURES if name in published or name in own] or ["accuracy"]
    if section == "others" and not own:
        names = []
    pairs = [("", name, own.get(name)) for name in names]
    pairs += [(row.changes, row.figure, row) for row in rows if row.changes]
    lines = []
    for changes, name, row in pairs:
        paper = published.get(name, ())
        weights = entry.get("weights") if not changes else None
        cost = cost_of(preset, changes)
        lines.append(
            Line(section, entry["title"], preset, changes, name, paper, row, weights, cost)
        )
    return lines


def cells(line: Line, columns: Sequence[str] = HEADER) -> tuple[str, ...]:
    """A line's texts in these columns, some of `COLUMNS`."""
    title = f"{line.title}, {FIGURES[line.figure]}".removesuffix(", ")
    command = "" if line.preset.startswith("(") else f"+experiment={line.preset}"
    digits = 4 if line.figure in ("mse", "auc") else 2
    texts = {"result": title, "command": f"{command} {line.changes}".strip(), "cost": line.cost}
    texts["paper"] = _plus_minus(line.paper, None)
    texts["their weights, here"] = "" if line.weights is None else _number(line.weights, digits)
    if line.here is not None:
        texts |= _measured(line.here, line.paper, digits)
    return tuple(texts.get(column, "") for column in columns)


def _measured(row: Row, paper: tuple[float, ...], digits: int) -> dict[str, str]:
    return {
        "here": _plus_minus((row.mean,) if row.sd is None else (row.mean, row.sd), digits),
        "difference": _number(row.mean - paper[0], digits, sign=True) if paper else "",
        "seeds": row.seeds,
        "code": row.commit[:7] + (CHANGED if row.commit.endswith(CHANGED) else ""),
        "parameters": "" if row.parameters is None else f"{row.parameters:,}",
        "sizes": row.sizes,
        "seconds": "" if row.seconds is None else f"{row.seconds:.0f}",
    }


def named_cells(
    lines: Sequence[Line],
    columns: Sequence[str],
    code: Callable[[str], str],
    text: Callable[[str], str] = str,
) -> list[dict[str, str]]:
    """The texts of every line by column, as `text` writes them.

    Without its command a line is named by the changed flags too, as `code` writes them, that not
    all lines of its preset have.
    """
    rows = [dict(zip(columns, map(text, cells(line, columns)))) for line in lines]
    if "command" in columns or "result" not in columns:
        return rows
    flags = [FLAG.split(line.changes) if line.changes else [] for line in lines]
    of: dict[str, list[set[str]]] = {}
    for line, own in zip(lines, flags):
        of.setdefault(line.preset, []).append(set(own))
    common = {
        preset: set.intersection(*sets) if any(own != sets[0] for own in sets) else set()
        for preset, sets in of.items()
    }
    for texts, line, own in zip(rows, lines, flags):
        telling = [code(flag) for flag in own if flag not in common[line.preset]]
        texts["result"] = ", ".join((texts["result"], *telling))
    return rows


def markdown(lines: list[Line], columns: Sequence[str] = HEADER) -> str:
    """A Markdown table."""
    rows = named_cells(lines, columns, "`{}`".format)
    for texts in rows:
        if texts.get("command"):
            texts["command"] = f"`{texts['command']}`"
    return tables.markdown(columns, [tuple(texts.values()) for texts in rows], "---") + "\n"


def as_csv(lines: list[Line]) -> str:
    """The figures as CSV, a column for each number."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    own = ("mean", "sd", "difference", "seeds", "commit")
    writer.writerow(("preset", "changes", "figure", "paper_mean", "paper_sd", *own))
    for line in lines:
        paper = (*line.paper, "", "")[:2]
        numbers = ("",) * len(own)
        if (row := line.here) is not None:
            difference = row.mean - line.paper[0] if line.paper else ""
            numbers = (row.mean, "" if row.sd is None else row.sd, difference, row.seeds)
            numbers += (row.commit,)
        writer.writerow((line.preset, line.changes, line.figure, *paper, *numbers))
    return text.getvalue()


def read_results(path: Path = RESULTS) -> list[Row]:
    """The figures that were written before."""
    if not path.exists():
        return []
    with open(path, newline="") as file:
        rows = list(csv.DictReader(file))
    numbers = {"mean": float, "sd": float, "parameters": int, "seconds": float}
    return [
        Row(
            **{
                name: numbers[name](text) if text else None
                for name, text in row.items()
                if name in numbers
            },
            **{name: text for name, text in row.items() if name not in numbers},
        )
        for row in rows
    ]


def write_results(rows: Iterable[Row], path: Path = RESULTS) -> list[Row]:
    """Put rows in the place of earlier ones of the same configuration; returns all of them."""
    new = list(rows)
    renewed = {(row.preset, row.changes) for row in new}
    kept = [row for row in read_results(path) if (row.preset, row.changes) not in renewed]
    merged = sorted(kept + new, key=lambda row: (row.preset, row.changes))
    write_csv(path, [asdict(row) for row in merged])
    return merged


def fill_in(text: str, lines: list[Line]) -> str:
    """A text with the tables between its `<!-- table: section -->` marks made anew.

    Raises `UsageError` for a mark of an unknown section.
    """
    sections = {line.section for line in lines} | {"others", MEASURED}

    def table(match: re.Match) -> str:
        if match[2] not in sections:
            raise UsageError(f"<!-- table: {match[2]} -->: there is no such section in paper.yaml")
        if match[2] == MEASURED:
            return match[1] + markdown([x for x in lines if is_measured(x)]) + match[3]
        return match[1] + known([x for x in lines if x.section == match[2]]) + match[3]

    return MARKED.sub(table, text)


def is_measured(line: Line) -> bool:
    """Whether the line has a figure of ours, by this code's training or by published weights."""
    return line.here is not None or line.weights is not None


def known(lines: list[Line]) -> str:
    """The table of the lines that have a figure, the paper's or ours; the others' names below."""
    shown = [line for line in lines if line.paper or line.here or line.weights is not None]
    presets = {line.preset for line in shown}
    others = [f"`{line.preset}`" for line in lines if line.preset not in presets]
    if not others:
        return markdown(shown)
    names = f"Presets without a figure, the paper's or ours: {', '.join(dict.fromkeys(others))}."
    return f"{markdown(shown)}\n{textwrap.fill(names, 100, break_on_hyphens=False)}\n"


def _plus_minus(values: tuple[float, ...], digits: int | None) -> str:
    return " ± ".join(_number(value, digits) for value in values)


def _number(value: float, digits: int | None, sign: bool = False) -> str:
    """A number with so many digits, or as it was published."""
    text = str(value) if digits is None else f"{value:{'+' if sign else ''}.{digits}f}"
    return text.replace("-", "\u2212")
