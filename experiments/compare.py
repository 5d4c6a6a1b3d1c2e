"""Several runs side by side: `python -m experiments.compare RUN RUN ...`."""

from __future__ import annotations

from cfg.flags import NEUTRAL, flatten

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from ckconv.errors import UsageError, reason
from program.folder import CONFIG, METRICS
from program.words.tables import padded
from training.report.curves import RESULTS, draw_runs, read_history
from training.report.pictures import picture

IGNORED = (*NEUTRAL, "train.resume")  # flags that say nothing of what was computed
NONE = "-"  # of a run that does not have a flag, or no result


@dataclass(frozen=True)
class Compared:
    """What is compared of a run."""

    name: str
    flags: dict[str, Any]
    history: list[dict[str, float]]  # a row per epoch


def main(arguments: Sequence[str] | None = None) -> int:
    """Draw the runs' curves into one picture and print where they differ; the exit status."""
    options = parser().parse_args(arguments)
    try:
        runs = [read(folder) for folder in folders_of(options.runs)]
        names = unique_names([run.name for run in runs])
        runs = [Compared(name, run.flags, run.history) for name, run in zip(names, runs)]
        print(table(runs))
        save_comparison(runs, options.out)
    except (UsageError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"\ncurves: {options.out.resolve()}")
    return 0


def parser() -> argparse.ArgumentParser:
    """What can be typed."""
    parser = argparse.ArgumentParser(
        prog="python -m experiments.compare",
        description="The curves of several runs in one picture, and a table of the flags in which "
        "they differ and of what each gave. Runs may be going on still.",
    )
    parser.add_argument(
        "runs", type=Path, nargs="+", help="folders of runs, or folders in which runs lie"
    )
    parser.add_argument(
        "--out", type=Path, default=Path("compare.png"), help="the picture (%(default)s)"
    )
    return parser


def folders_of(given: Sequence[Path]) -> list[Path]:
    """The runs' folders in and under those given. Raises `UsageError` where one holds no run."""
    found: list[Path] = []
    for root in given:
        own = [root] if (root / METRICS).exists() else sorted(p.parent for p in root.rglob(METRICS))
        own = [path for path in own if (path / CONFIG).exists()]
        if not own:
            raise UsageError(
                f"{root}: holds no run that has ended an epoch: no {METRICS} beside a {CONFIG}"
            )
        found += own
    return list(dict.fromkeys(path.resolve() for path in found))


def read(folder: Path) -> Compared:
    """What a run's folder tells of it. Raises `UsageError` for files that cannot be read."""
    try:
        config = OmegaConf.to_container(OmegaConf.load(folder / CONFIG))
        flags = {k: v for k, v in flatten(config).items() if not k.startswith(IGNORED)}
    except Exception as error:  # of YAML and of OmegaConf, of many kinds
        raise UsageError(f"{folder / CONFIG}: cannot be read: {reason(error, 120)}") from error
    return Compared(folder.as_posix(), flags, read_history(folder / METRICS))


def unique_names(paths: Sequence[str]) -> list[str]:
    """The shortest ends of paths, whole names each, that tell them apart."""
    parts = [path.split("/") for path in paths]
    for length in range(1, max(map(len, parts)) + 1):
        names = ["/".join(one[-length:]) for one in parts]
        if len(set(names)) == len(names):
            return names
    return list(paths)


def table(runs: Sequence[Compared]) -> str:
    """The flags in which the runs differ, and what they gave: a column per run.

    With more runs than rows, a row per run.
    """
    rows = [("", *(run.name for run in runs))]
    rows += [(flag, *values) for flag, values in differing(runs).items()]
    rows += results(runs)
    if len(runs) + 1 > len(rows):
        rows = list(zip(*rows))
    return padded(rows[0], rows[1:], str.ljust, rule="-")


def differing(runs: Sequence[Compared]) -> dict[str, list[str]]:
    """By flag the values of all runs, where they are not all the same."""
    names = dict.fromkeys(flag for run in runs for flag in run.flags)
    values = {flag: [str(run.flags.get(flag, NONE)) for run in runs] for flag in names}
    return {flag: own for flag, own in values.items() if len(set(own)) > 1}


def results(runs: Sequence[Compared]) -> list[tuple[str, ...]]:
    """The rows of what the runs gave: epochs, the best result on each split, the last loss."""
    rows = [("epochs", *(str(len(run.history)) for run in runs))]
    columns = dict.fromkeys(key for run in runs for row in run.history for key in row)
    for column in columns:
        split, _, name = column.partition("_")
        if split in ("validation", "test") and name in RESULTS:
            best, factor = (min, 1) if name == "mse" else (max, 100 if name == "accuracy" else 1)
            found = [[row[column] for row in run.history if column in row] for run in runs]
            texts = [f"{factor * best(values):.4g}" if values else NONE for values in found]
            unit = " (%)" if factor == 100 else ""
            rows.append((f"best {split} {name}{unit}", *texts))
    last = [run.history[-1].get("train_loss") if run.history else None for run in runs]
    rows.append(("last train loss", *(NONE if x is None else f"{x:.4g}" for x in last)))
    return rows


def save_comparison(runs: Sequence[Compared], path: Path) -> None:
    """Draw loss and results of the runs, a colour each: training dashed, what is held out whole."""
    height = 3.4 + 0.16 * max(len(runs) - 3, 0)
    with picture(path, 10, height) as figure:
        draw_runs(figure, [(run.name, run.history) for run in runs])


if __name__ == "__main__":
    sys.exit(main())
