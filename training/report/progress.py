"""How far a run has come: its epochs, and the best of them."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from datasets.task import Task
from program.environment import commit


@dataclass
class Progress:
    """How far a run has come."""

    epoch: int = 0  # epochs done
    best_epoch: int = 0  # 0: nothing to choose by
    best: float | None = None  # the result of that epoch
    best_loss: float = math.inf  # its loss, which decides between equal results
    seconds: float = 0.0  # spent in epochs
    history: list[dict[str, float]] = field(default_factory=list)  # a row per epoch
    commits: list[str] = field(default_factory=list)  # of the code that trained it, in order
    part: dict[str, Any] = field(default_factory=dict)  # of an epoch in which the run was stopped

    def goes_on(self) -> None:
        """Note the commit of the code that trains on; a line says so where it is another one."""
        own = commit()
        if not own or own in self.commits[-1:]:
            return
        if self.commits:
            before = self.commits[-1]
            print(f"the code has changed: this run was stopped at commit {before}, now {own}")
        self.commits.append(own)

    @property
    def is_best(self) -> bool:
        """Whether the last epoch is the best so far."""
        return self.best_epoch > 0 and self.best_epoch == self.epoch

    def end_epoch(self, row: dict[str, float], results: dict[str, float], task: Task) -> None:
        """Count an epoch. `results` are those that epochs are chosen by, empty for none."""
        self.epoch += 1
        self.seconds += row["seconds"]
        self.history.append(row)
        if results and self._is_better(results, task):
            self.best_epoch = self.epoch
            self.best, self.best_loss = results[task.metric], results["loss"]

    def _is_better(self, results: dict[str, float], task: Task) -> bool:
        if not math.isfinite(results[task.metric]):
            return False
        if self.best is None or not math.isfinite(self.best):
            return True
        sign = 1 if task.higher_is_better else -1
        new, old = sign * results[task.metric], sign * self.best
        return new > old or (new == old and results["loss"] < self.best_loss)

    def is_stuck(self, patience: int) -> bool:
        """Whether there was no better epoch for `patience` epochs; never with a patience of 0."""
        return patience > 0 and self.epoch - self.best_epoch >= patience
