"""The runs that lie in folders, as their own files tell of them, grouped by configuration."""

from __future__ import annotations

from cfg.flags import NEUTRAL, flatten, plain

import functools
import json
import math
import shlex
import statistics
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from datasets import is_own
from program.command_line import compose
from program.folder import CONFIG, FAILURE, PROFILE, RESULT, read_commands
from program.words.page import preset_names

IGNORED = (*NEUTRAL, "seed", "train.resume")  # flags in which runs of one row may differ
TYPED = "+experiment="
ROOT_FLAG = "dataset_params.root"
NO_PRESET = "(no preset)"
CHANGED = "+"  # behind a commit: the code had changes on top of it


@dataclass(frozen=True)
class Run:
    """A finished run."""

    folder: Path
    preset: str
    changes: str  # flags that differ from the preset's, as they are typed
    seed: int
    commit: str
    finished: float  # when, in seconds since 1970
    figures: tuple[tuple[str, float], ...]  # by name; fractions in percent
    parameters: int | None = None
    sizes: str = ""  # of the kernels, as "5×5" or "5×5 to 9×9"
    seconds: float | None = None


@dataclass(frozen=True)
class LeftOut:
    """A run that is in no table, and why."""

    folder: Path
    reason: str


@dataclass(frozen=True)
class Row:
    """A figure over the seeds of one configuration."""

    preset: str
    changes: str
    figure: str
    mean: float
    sd: float | None  # of the sample; None for a single seed
    seeds: str  # as "0 1 2"
    commit: str  # with `CHANGED` behind it where the code had changes
    parameters: int | None = None
    sizes: str = ""
    seconds: float | None = None  # of a run, the mean


def collect(folders: Iterable[Path], changed: bool = False) -> tuple[list[Row], list[LeftOut]]:
    """The rows of all runs in and under `folders`, and the runs that are in none of them.

    With `changed`, those of code with changes that were not committed are let in, marked.
    """
    runs: list[Run] = []
    left_out: list[LeftOut] = []
    for folder in sorted({path.parent for root in folders for path in root.rglob(CONFIG)}):
        if "wandb" in folder.parts:  # its files are called the same
            continue
        found = read(folder, changed)
        (runs if isinstance(found, Run) else left_out).append(found)
    groups = defaultdict(list)
    for run in runs:
        groups[run.preset, run.changes, tuple(name for name, _ in run.figures)].append(run)
    rows = []
    for group in groups.values():
        kept, others = one_version(group)
        rows += make_rows(kept)
        left_out += others
    return rows, left_out


def read(folder: Path, changed: bool = False) -> Run | LeftOut:
    """What a run's folder holds."""
    path = folder / RESULT
    if not path.exists() and (folder / PROFILE).exists():
        return LeftOut(folder, "a profile by run_profiler.py, which has no figure")
    if not path.exists():
        failure = folder / FAILURE
        reason = failure.read_text().strip() if failure.exists() else ""
        return LeftOut(folder, f"failed: {reason}" if reason else "unfinished")
    try:
        result = json.loads(path.read_text())
        if result["status"] != "finished":
            return LeftOut(folder, "unfinished")
        if result["dirty"] and not changed:
            return LeftOut(folder, "the code had changes that were not committed")
        commands = [*read_commands(folder / CONFIG), result["command"]]
        preset, changes = identify(commands, result["config"], data_of(result))
        commit = (result["commit"] or "unknown") + (CHANGED if result["dirty"] else "")
        return Run(
            folder,
            preset,
            changes,
            result["seed"],
            commit,
            path.stat().st_mtime,
            figures_of(result),
            result.get("parameters"),
            sizes_of(result.get("kernel_sizes") or {}),
            result.get("seconds"),
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        return LeftOut(folder, f"{RESULT} cannot be read: {error!r}")


def sizes_of(sizes: dict[str, list[int]]) -> str:
    """The kernels' sizes over a network's layers, the smallest and the largest."""
    ordered = sorted(sizes.values(), key=lambda size: (math.prod(size), size))
    texts = ["\u00d7".join(map(str, size)) for size in ordered[:1] + ordered[-1:]]
    return " to ".join(dict.fromkeys(texts))


def figures_of(result: dict[str, Any]) -> tuple[tuple[str, float], ...]:
    """A result's figures by name, fractions of one in percent."""
    if "source" in result:  # of run_crossres.py
        figures = {"source": result["source"]["accuracy"], "difference": result["difference"]}
        if "fine_tuned" in result:
            figures["fine_tuned"] = result["fine_tuned"]["accuracy"]
    else:
        figures = {name: result["test"][name] for name in (result["metric"],)}
        if "top5" in result["test"]:
            figures["top5"] = result["test"]["top5"]
    return tuple((k, v if k in ("mse", "auc") else 100 * v) for k, v in figures.items())


def data_of(result: dict[str, Any]) -> str | None:
    """Where a run's data lie, if they are the user's own."""
    config = result["config"]
    typed = config["dataset_params"]["root"] if is_own(config["dataset"]) else None
    return result.get("data", typed)  # earlier results have it as it was typed


def identify(
    commands: list[str], config: dict[str, Any], data: str | None = None
) -> tuple[str, str]:
    """The preset of the commands that made a run, and the flags that differ from it.

    `data` is where data of the user's own lie: other data are no other seed.
    """
    words = [word for command in commands for word in shlex.split(command)]
    names = [word.removeprefix(TYPED) for word in words if word.startswith(TYPED)]
    name = names[-1] if names and names[-1] in preset_names() else ""
    standard = preset_flags(name)
    changes = [
        f"{flag}={value}" for flag, value in relevant(config).items() if standard.get(flag) != value
    ]
    if data:
        changes.append(f"{ROOT_FLAG}={data}")
    return name or NO_PRESET, " ".join(sorted(changes))


def relevant(config: dict[str, Any]) -> dict[str, Any]:
    """The flags of a config that decide what is computed, by their full names."""
    return {flag: v for flag, v in flatten(config).items() if not flag.startswith(IGNORED)}


@functools.cache
def preset_flags(name: str) -> dict[str, Any]:
    """The flags of a preset, or the defaults for an empty name."""
    return relevant(plain(compose([f"+experiment={name}"] if name else [])))


def one_version(runs: list[Run]) -> tuple[list[Run], list[LeftOut]]:
    """The runs of one configuration that were made with one version of the code, a seed each.

    That is the version with the most seeds, of several the latest.
    """
    versions: dict[str, dict[int, Run]] = defaultdict(dict)
    left_out = []
    for run in sorted(runs, key=lambda run: run.finished):
        earlier = versions[run.commit].get(run.seed)
        if earlier:
            reason = f"seed={run.seed} was run again later, in {run.folder}"
            left_out.append(LeftOut(earlier.folder, reason))
        versions[run.commit][run.seed] = run
    commit, kept = max(
        versions.items(), key=lambda kv: (len(kv[1]), max(run.finished for run in kv[1].values()))
    )
    for other, group in versions.items():
        for run in group.values():
            if other != commit:
                reason = f"code version {other[:7]}; the other runs have {commit[:7]}"
                left_out.append(LeftOut(run.folder, reason))
    return list(kept.values()), left_out


def make_rows(runs: list[Run]) -> list[Row]:
    """The figures of runs that differ by their seeds alone."""
    runs = sorted(runs, key=lambda run: run.seed)
    seeds, first = " ".join(str(run.seed) for run in runs), runs[0]
    rows = []
    for index, (figure, _) in enumerate(first.figures):
        values = [run.figures[index][1] for run in runs]
        sd = statistics.stdev(values) if len(values) > 1 else None
        mean = statistics.fmean(values)
        row = Row(first.preset, first.changes, figure, mean, sd, seeds, first.commit)
        rows.append(replace(row, **measured(runs)))
    return rows


def measured(runs: list[Run]) -> dict[str, Any]:
    """What is told of the runs of a row beside their figures."""
    seconds = [run.seconds for run in runs if run.seconds is not None]
    return {
        "parameters": runs[0].parameters,
        "sizes": "; ".join(dict.fromkeys(run.sizes for run in runs)),
        "seconds": round(statistics.fmean(seconds), 2) if seconds else None,
    }
