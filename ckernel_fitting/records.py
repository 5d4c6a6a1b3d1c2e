"""Where results go: a folder of pictures and weights, and a CSV file of a row per fit."""

from __future__ import annotations

import csv
import os
import time
from pathlib import Path
from typing import Any

from ckconv.errors import UsageError
from ckernel_fitting.fit import Fit
from ckernel_fitting.plots import save_fit
from ckernel_fitting.settings import Settings, flat
from ckernel_fitting.targets import Target
from program.files import write_csv, write_tensors
from program.folder import made_folder

RESULTS = "fits.csv"
DEFAULT_FOLDER = Path(__file__).resolve().parent / "outputs"


def output_folder(given: str) -> Path:
    """The folder of the results, made where it is missing.

    Raises `UsageError` where it cannot be made or written to.
    """
    folder = made_folder("out", given or str(DEFAULT_FOLDER))
    if not os.access(folder, os.W_OK):
        raise UsageError(f"out={folder}: may not be written to; give another folder")
    return folder


def append_row(path: Path, row: dict[str, Any]) -> None:
    """Put a row under those of a CSV file, which may have other columns."""
    rows = []
    if path.exists():
        with open(path, newline="") as file:
            rows = list(csv.DictReader(file))
    write_csv(path, [*rows, row])


def write_results(settings: Settings, target: Target, result: Fit, folder: Path) -> Path:
    """Write what a fit gave, tell it, and return the picture's path."""
    if result.diverged:
        print(
            f"the error became no number after {len(result.history)} iterations; a lower lr helps"
        )
    name = f"{time.strftime('%Y%m%d-%H%M%S')}-{settings.function}-{settings.generator}"
    picture, weights = folder / f"{name}.png", folder / f"{name}.pt"
    title = (
        f"{settings.function}, {settings.generator} with {result.parameters:,} parameters, "
        f"{settings.optim}, lr {settings.lr:g}, {len(result.history):,} iterations"
    )
    span = axis_span(settings, target)
    save_fit(picture, target, result, title, span)
    write_tensors(weights, result.state)
    row = {
        "mse": result.mse,
        "psnr": result.psnr,
        "psnr_between": result.psnr_between,
        "best_step": result.best_step,
        "seconds": round(result.seconds, 3),
        "parameters": result.parameters,
        "generator": settings.generator,
        "picture": picture.name,
        **flat(settings),
    }
    append_row(folder / RESULTS, row)
    print(
        f"best after {result.best_step} of {len(result.history)} iterations: MSE {result.mse:.3e}, "
        f"PSNR {result.psnr:.2f} dB; {result.parameters:,} parameters, {result.seconds:.1f} s"
    )
    if result.psnr_between is not None:
        print(f"halfway between the samples: PSNR {result.psnr_between:.2f} dB")
    print(f"picture, weights and row: {picture}, {weights.name}, {RESULTS}")
    return picture


def axis_span(settings: Settings, target: Target) -> tuple[float, float]:
    """The coordinates of the first and the last sample, the padding counted in."""
    low, high = settings.span
    inner = target.values.shape[1] - 2 * settings.padding
    around = settings.padding * (high - low) / (inner - 1)
    return low - around, high + around
