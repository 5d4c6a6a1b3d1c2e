"""Time and memory of the steps of a network, backend by backend in turn."""

from __future__ import annotations

import argparse
import gc
import itertools
import multiprocessing
import os
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from benchmarks.backends import BACKENDS, Backend
from benchmarks.workloads import WORKLOADS, Problem, Workload, make_problem
from ckconv.nn import keep_kernels
from program.device import autocast
from training.evaluation import Totals
from training.profiling.measure import peak_memory, state_bytes
from training.state import Training
from training.step import train_step

MODES = ("train", "evaluate", "uncached")  # uncached: evaluation that samples kernels every time
CLOCKS = {"wall": time.perf_counter, "process": time.process_time}
ONCE = 5.0  # a first step of more seconds than this is the only one
SHORTEST = 0.05  # seconds: shorter steps are timed several at a time


@dataclass(frozen=True)
class Settings:
    """How it is measured."""

    device: torch.device
    precision: str = "fp32"
    rounds: int = 5
    clock: str = "wall"
    slow: bool = False  # also what is left out for taking minutes
    resident: bool = False  # also the memory of the process
    flags: tuple[str, ...] = ()  # of the run, after the workload's own


@dataclass
class Result:
    """What one backend took for a step of one workload."""

    samples: list[float] = field(default_factory=list)  # seconds
    peak_bytes: int = 0
    resident_bytes: int | None = None
    skipped: str = ""

    def as_dict(self) -> dict[str, Any]:
        if self.skipped:
            return {"skipped": self.skipped}
        return {
            "seconds": statistics.median(self.samples),
            "lowest": min(self.samples),
            "highest": max(self.samples),
            "samples": self.samples,
            "peak_bytes": self.peak_bytes,
            "resident_bytes": self.resident_bytes,
        }


class Runner:
    """One backend's own copy of a problem's network, and its step."""

    def __init__(self, problem: Problem, backend: Backend, mode: str) -> None:
        self.problem, self.backend = problem, backend
        self.model = backend.network(problem)
        self.training = Training(self.model, problem.task, problem.cfg, steps_per_epoch=1)
        self.totals = Totals(problem.task)
        self.model.train(mode == "train")
        keep_kernels(self.model, mode == "evaluate")
        self._step = self._train if mode == "train" else self._evaluate
        self.result = Result()

    def step(self) -> None:
        with self.backend.active():
            self._step()

    def _train(self) -> None:
        problem = self.problem
        batch = problem.inputs, problem.target
        train_step(self.training, batch, problem.task, problem.cfg, self.totals)

    @torch.no_grad()
    def _evaluate(self) -> None:
        with autocast(self.problem.inputs.device, self.problem.cfg.train.precision):
            self.model(self.problem.inputs)

    def first_step(self, settings: Settings) -> float:
        """Seconds of the step that warms up; its memory, caches and all, is taken note of."""
        elapsed = 0.0

        def step() -> None:
            nonlocal elapsed
            elapsed = timed(self.step, settings)

        growth = peak_memory(step, settings.device)
        own = self.problem.inputs, self.problem.target, self.model, self.training.optimizer
        self.result.peak_bytes = growth + state_bytes(*own)
        return elapsed


def timed(step: Callable[[], None], settings: Settings, repeats: int = 1) -> float:
    """Seconds per step of `repeats` steps."""
    clock = CLOCKS[settings.clock]
    wait(settings.device)
    started = clock()
    for _ in range(repeats):
        step()
    wait(settings.device)
    return (clock() - started) / repeats


def wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def compare(
    workload: Workload,
    backends: Sequence[Backend],
    mode: str,
    settings: Settings,
) -> dict[str, Any]:
    """Take each backend's step in turn, round after round."""
    gc.collect()
    problem = make_problem(workload, settings.device, settings.precision, settings.flags)
    results: dict[str, Result] = {}
    runners, repeats = {}, {}
    for backend in backends:
        reason = "" if settings.slow else backend.too_much(problem, mode)
        if reason:
            results[backend.name] = Result(skipped=reason)
            continue
        runner = Runner(problem, backend, mode)
        results[backend.name] = runner.result
        first = runner.first_step(settings)
        if problem.cfg.train.compile:  # which is no part of a step
            first = timed(runner.step, settings)
        if first > ONCE:
            runner.result.samples.append(first)
            continue
        runners[backend.name] = runner
        repeats[backend.name] = max(1, round(SHORTEST / timed(runner.step, settings)))
    for _ in range(settings.rounds):
        for name, runner in runners.items():
            runner.result.samples.append(timed(runner.step, settings, repeats[name]))
    for name, result in results.items():
        if settings.resident and not result.skipped:
            result.resident_bytes = resident_memory(workload.name, name, mode, settings)
    return {
        "workload": workload.name,
        "mode": mode,
        "shape": list(problem.inputs.shape),
        "kernels": sorted({tuple(size) for size in problem.sizes.values()}),
        "backends": {name: result.as_dict() for name, result in results.items()},
        "times_ours": times_ours({name: r.samples for name, r in results.items() if r.samples}),
    }


def times_ours(samples: dict[str, list[float]]) -> dict[str, float]:
    """How many times ours each backend takes: the median of the rounds' ratios."""
    if "ours" not in samples:
        return {}
    ours = samples["ours"]
    typical = statistics.median(ours)
    ratios = {}
    for name, taken in samples.items():
        pairs = (
            zip(taken, ours) if len(taken) == len(ours) else zip(taken, itertools.repeat(typical))
        )
        ratios[name] = statistics.median(other / own for other, own in pairs)
    return ratios


# ----- the memory of the process ------------------------------------------------------------------


def resident_memory(workload: str, backend: str, mode: str, settings: Settings) -> int | None:
    """By how many bytes a fresh process grows in its first steps; None where Linux does not tell.

    Unlike the sum of the tensors this counts what libraries take for themselves, and what the
    system's allocator does not give back.
    """
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(
        target=_report_growth,
        args=(sender, workload, backend, mode, settings, torch.get_num_threads()),
    )
    child.start()
    sender.close()
    try:
        return receiver.recv()
    except EOFError:
        return None
    finally:
        child.join()


def _report_growth(
    sender: Any, workload: str, backend: str, mode: str, settings: Settings, threads: int
) -> None:
    torch.set_num_threads(threads)
    problem = make_problem(WORKLOADS[workload], settings.device, settings.precision, settings.flags)
    runner = Runner(problem, BACKENDS[backend], mode)
    before = _status("VmRSS")
    if before is None:
        sender.send(None)
        return
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    runner.step()
    sender.send(_status("VmHWM") - before)


def _status(name: str) -> int | None:
    """A size of this process from /proc, in bytes."""
    path = Path("/proc/self/status")
    if not path.exists():
        return None
    for line in path.read_text().splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1]) * 1024
    return None


# ----- the machine, the command line --------------------------------------------------------------


def machine(device: torch.device) -> dict[str, Any]:
    """The machine as PyTorch sees it."""
    about = {"torch": torch.__version__, "threads": torch.get_num_threads(), "cpus": os.cpu_count()}
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        return about | {
            "device": properties.name,
            "memory_bytes": properties.total_memory,
            "multiprocessors": properties.multi_processor_count,
            "cuda": torch.version.cuda,
        }
    return about | {"device": f"CPU with {torch.backends.cpu.get_cpu_capability()}"}


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options that all benchmarks share."""
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--rounds", type=int, default=5, help="steps of each backend, in turn")
    parser.add_argument("--threads", type=int, default=0, help="0: as many as PyTorch takes")
    parser.add_argument(
        "--clock",
        choices=CLOCKS,
        default="wall",
        help="process: the processor's time instead, with --threads 1: for a CPU that is shared",
    )


def chosen_device(parser: argparse.ArgumentParser, args: argparse.Namespace) -> torch.device:
    """Check the shared options and put them into effect."""
    if args.rounds < 1:
        parser.error(f"--rounds {args.rounds}: give 1 or more")
    if args.threads < 0:
        parser.error(f"--threads {args.threads}: give 0 or more")
    if args.device == "cuda" and not torch.cuda.is_available():
        parser.error("--device cuda: there is no CUDA device here")
    on_cpu = args.device == "cpu" or not torch.cuda.is_available()
    if args.clock == "process" and not (on_cpu and args.threads == 1):
        parser.error("--clock process: counts a CPU's time; give --device cpu --threads 1")
    if args.threads:
        torch.set_num_threads(args.threads)
    return torch.device("cpu" if on_cpu else "cuda")
