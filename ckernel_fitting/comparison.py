"""Every generator at equal parameters, over learning rates and seeds, each judged at its best."""

from __future__ import annotations

import math
import multiprocessing
import os
import statistics
from bisect import bisect_left
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ckconv.errors import UsageError, check_choice
from ckconv.nn.ck import GENERATORS
from ckernel_fitting.fit import fit
from ckernel_fitting.generators import build_generator, count_parameters
from ckernel_fitting.settings import (
    MODELS,
    OF_KERNEL,
    OF_MODEL,
    Settings,
    changed,
    flat,
    option,
    validate,
)
from ckernel_fitting.targets import Target, build_target

# The built-in sets: what the settings of each target are.
SETS = {
    "functions": (
        {"function": "Gaussian", "dim": 1, "no_samples": 200},
        {"function": "Sawtooth", "dim": 1, "no_samples": 500},
        {"function": "SinusChirp", "dim": 1, "no_samples": 500},
        {"function": "Random", "dim": 1, "no_samples": 200},
        {"function": "Gabor", "dim": 2, "no_samples": 33},
        {"function": "CameraMan", "dim": 2, "no_samples": 33},
    ),
    "gabors": tuple(
        {"function": "Gabor", "dim": 2, "no_samples": 33, "freq": freq}
        for freq in (1.0, 4.0, 16.0, 64.0)
    ),
}
# The setting that scales a generator's initial frequencies, by its published name.
NAMES = {own: name for name, own in OF_KERNEL.items()}
FREQUENCY_SETTING = {
    model: NAMES[kind.frequency_setting]
    for model, kind in GENERATORS.items()
    if kind.frequency_setting
} | {"RandomFourier": "fourier_scale"}
# Settings of a single fit that a comparison chooses itself, and what to give instead.
CHOSEN = {
    "model": "models",
    "kernelnet_activation_function": "models",
    "lr": "lrs",
    "kernelnet_no_hidden": "parameters",
}
CURVE_POINTS = 200


@dataclass
class Comparison(Settings):
    """What to compare; the settings of the single fits come with it."""

    function: str = option("", "one target; unset: a set of several")
    set: str = option("functions", "functions, or gabors: 33 x 33 of frequency 1, 4, 16, 64")
    scheduler: str = option("cosine", "learning-rate schedule of every fit")
    no_iterations: int = option(1000, "optimizer steps of every fit")
    models: str = option(",".join(MODELS), "generators to compare")
    lrs: str = option("0.03,0.01,0.002", "learning rates that each is tried with")
    freq_factors: str = option("1,8", "factors on omega_0, input_scale, fourier_scale, likewise")
    seeds: int = option(3, "number of seeds, counted from seed")
    parameters: int = option(1000, "parameters of every generator, as near as its width allows")
    processes: int = option(0, "fits at a time; 0: one per core")


@dataclass(frozen=True)
class Job:
    """One fit of a comparison."""

    target: int  # which of the comparison's targets
    settings: Settings
    factor: float  # on the generator's initial frequencies

    @property
    def group(self) -> tuple[int, str, float, float]:
        """What the seeds of one way of fitting have in common."""
        return self.target, self.settings.generator, self.settings.lr, self.factor


@dataclass
class Outcome:
    """What one fit gave."""

    mse: float
    psnr: float
    psnr_between: float  # halfway between the samples; not a number where that is unknown
    seconds: float  # of the processor, on the CPU: what the fit takes on a core of its own
    parameters: int
    curve: NDArray  # (CURVE_POINTS,), lowest error so far
    values: NDArray  # (channels, *size)


@dataclass
class Best:
    """A generator at its best on one target: the learning rate and factor of the highest PSNR.

    `between`: the highest PSNR halfway between the samples, which other settings may give.
    """

    target: int
    model: str
    lr: float
    factor: float
    outcomes: list[Outcome]  # one per seed
    between: float = math.nan

    def mean_sd(self, name: str) -> tuple[float, float]:
        """Mean and standard deviation over the seeds of a number of the outcomes."""
        numbers = [getattr(outcome, name) for outcome in self.outcomes]
        if not all(map(math.isfinite, numbers)):
            return math.nan, math.nan
        return statistics.fmean(numbers), statistics.stdev(numbers) if len(numbers) > 1 else 0.0


def check_comparison(comparison: Comparison, given: set[str]) -> None:
    """Raise `UsageError` for a comparison that cannot be made."""
    for name in given & set(CHOSEN):
        raise UsageError(f"{name}: a comparison chooses it; give {CHOSEN[name]}=... instead")
    check_choice("set", comparison.set, SETS)
    for model in names_of(comparison.models):
        check_choice("models", model, MODELS)
    if not names_of(comparison.models):
        raise UsageError("models: give at least one generator")
    for name in ("lrs", "freq_factors"):
        if not all(number > 0 for number in numbers_of(comparison, name)):
            raise UsageError(f"{name}={getattr(comparison, name)}: give numbers above 0")
    for name, least in (("seeds", 1), ("parameters", 1), ("processes", 0)):
        if getattr(comparison, name) < least:
            raise UsageError(
                f"{name}={getattr(comparison, name)}: give a number of at least {least}"
            )


def names_of(text: str) -> list[str]:
    """The parts of a list written with commas."""
    return [part.strip() for part in text.strip("[]").split(",") if part.strip()]


def numbers_of(comparison: Comparison, name: str) -> list[float]:
    """The numbers of a setting written with commas."""
    text = getattr(comparison, name)
    try:
        numbers = [float(part) for part in names_of(text)]
    except ValueError as error:
        raise UsageError(f"{name}={text}: give numbers, as 0.01,0.001") from error
    if not numbers:
        raise UsageError(f"{name}: give at least one number")
    return numbers


def target_settings(comparison: Comparison, given: Collection[str]) -> list[Settings]:
    """The settings of each target: of the one that is named, or of a built-in set, in which the
    settings that were `given` take the place of its own.
    """
    values = flat(comparison)
    common = changed(Settings(), **{name: values[name] for name in flat(Settings())})
    chosen: Sequence[dict[str, Any]] = ({},) if comparison.function else SETS[comparison.set]
    settings = []
    for own in chosen:
        own = {name: own[name] for name in own if name == "function" or name not in given}
        settings.append(changed(common, **own))
        validate(settings[-1])
    return settings


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


def build_jobs(
    comparison: Comparison, settings: Sequence[Settings], targets: Sequence[Target]
) -> list[Job]:
    """All fits, the longest first, so that no core waits for another at the end."""
    jobs = []
    for index, (base, target) in enumerate(zip(settings, targets)):
        for model in names_of(comparison.models):
            width = width_for(base, model, comparison.parameters, target)
            setting = FREQUENCY_SETTING.get(model)
            for factor in numbers_of(comparison, "freq_factors") if setting else (1.0,):
                scaled = {setting: factor * flat(base)[setting]} if setting else {}
                for lr in numbers_of(comparison, "lrs"):
                    for seed in range(base.seed, base.seed + comparison.seeds):
                        changes = {"lr": lr, "seed": seed, "kernelnet_no_hidden": width, **scaled}
                        fitted = changed(base, model=model, **changes)
                        validate(fitted)
                        jobs.append(Job(index, fitted, factor))
    return sorted(jobs, key=lambda job: -targets[job.target].values.numel())


def size_of(settings: Settings, model: str, width: int, target: Target) -> int:
    """The number of parameters of a generator of this width."""
    sized = changed(settings, model=model, kernelnet_no_hidden=width)
    samples = max(target.values.shape[1:])
    return count_parameters(build_generator(sized, target.dim, target.channels, samples))


def width_for(settings: Settings, model: str, budget: int, target: Target) -> int:
    """The width whose number of parameters is nearest to `budget`."""
    if model not in OF_MODEL["kernelnet_no_hidden"]:
        return settings.kernel.no_hidden

    def size(width: int) -> int:
        return size_of(settings, model, width, target)

    most = 1
    while size(most) < budget:
        most *= 2
    above = bisect_left(range(most), budget, lo=most // 2 + 1, key=size)  # the first that is enough
    return min((max(above - 1, 1), above), key=lambda width: abs(size(width) - budget))


def run_job(job: Job) -> Outcome:
    """Fit in this process. A fit that never gave a number counts as one of infinite error."""
    target = build_target(job.settings)
    try:
        result = fit(target, job.settings, job.settings.device)
    except UsageError:
        empty = np.full(CURVE_POINTS, math.inf)
        return Outcome(
            math.inf, -math.inf, math.nan, 0.0, 0, empty, target.values.numpy() * math.nan
        )
    lowest = result.history.nan_to_num(math.inf).cummin(0).values.numpy()
    ends = np.linspace(0, job.settings.no_iterations - 1, CURVE_POINTS).astype(int)
    curve = lowest[np.minimum(ends, len(lowest) - 1)]
    return Outcome(
        result.mse,
        result.psnr,
        math.nan if result.psnr_between is None else result.psnr_between,
        result.processor_seconds if job.settings.device == "cpu" else result.seconds,
        result.parameters,
        curve,
        result.values.numpy(),
    )


def run_jobs(jobs: Sequence[Job], processes: int) -> Iterator[tuple[Job, Outcome]]:
    """Yield every job's outcome as it comes, from one process per core."""
    workers = min(processes or available_cores(), len(jobs))
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, context, initializer=torch.set_num_threads, initargs=(1,))
    try:
        futures = {pool.submit(run_job, job): job for job in jobs}
        for future in as_completed(futures):
            yield futures[future], future.result()
    finally:
        pool.shutdown(cancel_futures=True)


def available_cores() -> int:
    """The cores that this process may use."""
    has_affinity = hasattr(os, "sched_getaffinity")
    return len(os.sched_getaffinity(0)) if has_affinity else os.cpu_count() or 1


def best_of(outcomes: Sequence[tuple[Job, Outcome]]) -> list[Best]:
    """Each generator on each target at the learning rate and factor of its highest mean PSNR."""
    candidates: dict[tuple[int, str], list[Best]] = {}
    in_order = sorted(outcomes, key=lambda pair: (pair[0].group, pair[0].settings.seed))
    for group, seeds in groupby(in_order, key=lambda pair: pair[0].group):
        entry = Best(*group, [outcome for _, outcome in seeds])
        candidates.setdefault(group[:2], []).append(entry)
    best = []
    for tried in candidates.values():
        chosen = max(tried, key=lambda entry: _score(entry, "psnr"))
        between = max(_score(entry, "psnr_between") for entry in tried)
        chosen.between = between if math.isfinite(between) else math.nan
        best.append(chosen)
    return best


def _score(entry: Best, name: str) -> float:
    mean = entry.mean_sd(name)[0]
    return -math.inf if math.isnan(mean) else mean
