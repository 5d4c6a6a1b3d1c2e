"""Compare the kernel generators: each fits the same targets with the same number of parameters."""

from __future__ import annotations

import dataclasses
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from ckernel_fitting.command_line import program
from ckernel_fitting.comparison import (
    CHOSEN,
    Comparison,
    best_of,
    build_jobs,
    check_comparison,
    run_jobs,
    sampled,
    target_settings,
)
from ckernel_fitting.comparison_report import write_report
from ckernel_fitting.records import output_folder
from program.device import choose_device
from program.progress import shown


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
    best = best_of(list(shown(run_jobs(jobs, comparison.processes), "fitting", len(jobs))))
    stem = folder / f"{time.strftime('%Y%m%d-%H%M%S')}-compare"
    print(write_report(stem, targets, best, comparison))
    minutes = (time.perf_counter() - start) / 60
    print(f"{minutes:.1f} minutes; table and picture: {stem}.csv, .md, .png")


if __name__ == "__main__":
    program("compare.py", __doc__, run, Comparison, hidden=CHOSEN)
