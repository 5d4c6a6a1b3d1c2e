"""An input that is wrong."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

EXPERIMENT, CROSSRES, PROFILER = "run_experiment", "run_crossres", "run_profiler"
PREDICT, DRAW, EXPORT, COLLECT = "predict", "draw", "export", "experiments.collect"
Harm = Callable[[Path], object]  # done to a copy of a finished run's folder


@dataclass
class Case:
    """An input: what is typed, in which environment, after what was done to a folder.

    `{run}` in the arguments is a copy of a finished run's folder, `{here}` an empty folder.
    """

    kind: str
    program: str
    arguments: list[str]
    prepare: Harm = lambda run: None
    environment: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        variables = [f"{name}={value}" for name, value in self.environment.items()]
        return " ".join([*variables, self.program, *self.arguments])
