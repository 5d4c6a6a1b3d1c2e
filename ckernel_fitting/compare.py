"""Compare the kernel generators: each fits the same targets with the same number of parameters."""

from __future__ import annotations

import dataclasses
import math
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from ckconv.errors import UsageError
from ckernel_fitting.command_line import program
from ckernel_fitting.comparison import (
    CHOSEN,
    Best,
    Comparison,
    Job,
    Outcome,
    best_of,
    build_jobs,
    check_comparison,
    names_of,
    run_jobs,
    target_settings,
)
from ckernel_fitting.comparison_plot import comparison_figure
from ckernel_fitting.plots import save_figure
from ckernel_fitting.records import output_folder
from ckernel_fitting.settings import Settings
from ckernel_fitting.targets import Target, build_target
from program.device import choose_device
from program.files import write, write_csv

COLUMNS = ("target", "generator", "MSE", "PSNR, dB", "between samples", "between, at best")
COLUMNS += ("seconds", "parameters", "lr", "frequency ×")
LINES = 10  # of progress, where there is no terminal to draw a bar on


def run(comparison: Comparison, given: set[str]) -> None:
    """Fit everything, then write the table and the picture."""
    start = time.perf_counter()
    check_comparison(comparison, given)
    settings = target_settings(comparison, given)
    device = choose_device(comparison.device).type
    settings, targets = sampled([dataclasses.replace(s, device=device) for s in settings])
    folder = output_folder(comparison.out)
    jobs = build_jobs(comparison, settings, targets)
    print(f"{len(jobs)} fits of {comparison.no_iterations} iterations, on {device}", flush=True)
    best = best_of(fit_all(jobs, comparison.processes))
    best.sort(key=lambda entry: (entry.target, -entry.mean_sd("psnr")[0]))
    stem = folder / f"{time.strftime('%Y%m%d-%H%M%S')}-compare"
    rows = [row_of(entry, targets[entry.target]) for entry in best]
    table = markdown(rows)
    write_csv(stem.with_suffix(".csv"), rows)
    write(stem.with_suffix(".md"), table)
    figure = comparison_figure(targets, best, names_of(comparison.models), settings[0])
    save_figure(figure, stem.with_suffix(".png"), dpi=75)
    print(table)
    minutes = (time.perf_counter() - start) / 60
    print(f"{minutes:.1f} minutes; table and picture: {stem}.csv, .md, .png")


def sampled(settings: Sequence[Settings]) -> tuple[list[Settings], list[Target]]:
    """The targets; of several, those that cannot be had are left out with a line that says so."""
    kept = []
    for each in settings:
        try:
            kept.append((each, build_target(each)))
        except UsageError as error:
            if len(settings) == 1:
                raise
            print(f"left out: {error}")
    return [each for each, _ in kept], [target for _, target in kept]


def fit_all(jobs: Sequence[Job], processes: int) -> list[tuple[Job, Outcome]]:
    """Run the jobs with a bar on a terminal, and with lines elsewhere."""
    outcomes = []
    with tqdm(total=len(jobs), disable=None, leave=False, unit="fit") as bar:
        for outcome in run_jobs(jobs, processes):
            outcomes.append(outcome)
            bar.update()
            done, total = len(outcomes), len(jobs)
            if bar.disable and done * LINES // total > (done - 1) * LINES // total:
                print(f"{done:>6}/{total} fits", flush=True)
    return outcomes


def row_of(entry: Best, target: Target) -> dict[str, object]:
    """A line of the table."""
    row: dict[str, object] = {
        "target": f"{target.name} {'x'.join(str(n) for n in target.values.shape[1:])}",
        "generator": entry.model,
        "parameters": entry.outcomes[0].parameters,
        "lr": entry.lr,
        "frequency_factor": entry.factor,
        "seeds": len(entry.outcomes),
    }
    for name in ("mse", "psnr", "psnr_between", "seconds"):
        row[name], row[f"{name}_sd"] = entry.mean_sd(name)
    row["best_between"] = entry.between
    return row


def markdown(rows: Sequence[dict]) -> str:
    """The table as Markdown, each target's best generator first."""
    lines = ["| " + " | ".join(COLUMNS) + " |", "|" + " --- |" * len(COLUMNS)]
    for row in rows:
        cells = (
            row["target"],
            row["generator"],
            f"{row['mse']:.1e} ± {row['mse_sd']:.0e}",
            f"{row['psnr']:.1f} ± {row['psnr_sd']:.1f}",
            known(row["psnr_between"], f"{row['psnr_between']:.1f} ± {row['psnr_between_sd']:.1f}"),
            known(row["best_between"], f"{row['best_between']:.1f}"),
            f"{row['seconds']:.1f} ± {row['seconds_sd']:.1f}",
            f"{row['parameters']:,}",
            f"{row['lr']:g}",
            f"{row['frequency_factor']:g}",
        )
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def known(number: float, text: str) -> str:
    """The text for a number, nothing where there is no number."""
    return "" if math.isnan(number) else text


if __name__ == "__main__":
    program("compare.py", __doc__, run, Comparison, hidden=CHOSEN)
