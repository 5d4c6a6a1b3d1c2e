"""How far a profile has come, and how long it will take."""

from __future__ import annotations

from cfg.schema import Profile

import sys
import time
from collections.abc import Callable
from typing import Any

import torch
from tqdm import tqdm

from training.profiling.measure import wait
from training.report.result import duration


def progress(profile: Profile) -> tqdm:
    """A bar over the steps to warm up, those that are timed and those that are profiled."""
    steps = profile.warmup + 2 * profile.n_batches
    return tqdm(total=steps, desc="steps", leave=False, disable=not sys.stderr.isatty())


def warm_up(
    step: Callable[[], Any], profile: Profile, device: torch.device, done: Callable[[], Any]
) -> None:
    """Take the steps before measuring, and say by the last of them how long the others will take.

    `done` is called after each.
    """
    print(f"{profile.warmup} steps to warm up, {profile.n_batches} timed and profiled", flush=True)
    for index in range(profile.warmup):
        started = time.perf_counter()
        step()
        wait(device)
        done()
        if index == profile.warmup - 1:
            seconds = 2 * profile.n_batches * (time.perf_counter() - started)
            tqdm.write(f"this takes {duration(seconds)} or longer: a profiled step is slower")
