"""From the folders of runs to a table: `python -m experiments.collect outputs multirun`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from ckconv.errors import UsageError
from experiments import tables
from experiments.latex import COLUMNS, latex
from experiments.runs import LeftOut, collect
from program import surroundings
from program.files import write


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the runs, print their table and what is not in it; returns the exit status."""
    surroundings.make_usable()
    options = parser().parse_args(arguments)
    try:
        for folder in options.folders:
            if not folder.is_dir():
                raise UsageError(f"{folder}: there is no such folder; give folders of runs")
        rows, left_out = collect(options.folders, options.dirty)
        lines = tables.make_lines(rows, tables.read_paper())
        shown = lines if options.all else [line for line in lines if line.here]
        text = tables.markdown(shown, options.columns or tables.HEADER)
        if options.folders or options.all:
            print(text if shown else "no finished run\n")
        for note in notes(left_out):
            print(note)
        if options.out:
            options.out.mkdir(parents=True, exist_ok=True)
            write(options.out / "table.md", text)
            write(options.out / "table.csv", tables.as_csv(shown))
            write(options.out / "table.tex", latex(shown, options.columns or COLUMNS))
        if options.write:
            everything = tables.write_results(rows)
            lines = tables.make_lines(everything, tables.read_paper())
            for path in (tables.README, tables.OVERVIEW):
                write(path, tables.fill_in(path.read_text(), lines))
    except (UsageError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def parser() -> argparse.ArgumentParser:
    """What can be typed."""
    parser = argparse.ArgumentParser(
        prog="python -m experiments.collect",
        description="Tables of finished runs, mean ± standard deviation over seeds, beside the "
        "papers' figures. Accuracies are in percent.",
    )
    parser.add_argument("folders", type=Path, nargs="*", help="folders in which runs lie")
    parser.add_argument("--all", action="store_true", help="also the presets that were not run")
    parser.add_argument("--out", type=Path, help="write table.md, table.csv and table.tex here")
    parser.add_argument(
        "--columns",
        type=columns,
        help=f"of the tables, with commas between: {', '.join(tables.COLUMNS)}",
    )
    parser.add_argument(
        "--dirty",
        action="store_true",
        help="also runs of code with changes that were not committed, marked with a +",
    )
    parser.add_argument(
        "--write",
        action="store_true",
        help="keep the figures in experiments/results.csv and make the readme's tables from it",
    )
    return parser


def columns(text: str) -> list[str]:
    """The names of columns. Raises `argparse.ArgumentTypeError` for one that there is not."""
    names = text.split(",")
    for name in names:
        if name not in tables.COLUMNS:
            known = ", ".join(tables.COLUMNS)
            raise argparse.ArgumentTypeError(f"{name!r} is no column; choose from {known}")
    return names


def notes(left_out: list[LeftOut]) -> list[str]:
    """A sentence for every run that is in no row."""
    return [f"left out: {run.folder}: {run.reason}" for run in left_out]


if __name__ == "__main__":
    sys.exit(main())
