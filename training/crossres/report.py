"""What a run across resolutions ends with: a table, `result.json`, and pictures."""

from __future__ import annotations

from cfg.flags import plain
from cfg.schema import Config

from pathlib import Path
from typing import Any

import torch
from torch import nn

from datasets.task import Task
from program.environment import environment
from program.words.tables import layout
from training.crossres.record import AS_IS, FINE_TUNED, SOURCE
from training.report.layers import count_parameters
from training.report.result import kernel_rows, result_rows


def result(
    cfg: Config,
    task: Task,
    model: nn.Module,
    stages: dict[str, dict[str, Any]],
    seconds: float,
    device: torch.device,
) -> dict[str, Any]:
    """Everything that is known of a finished run; `stages` are the results of its stages."""
    return {
        "status": "finished",
        "dataset": task.name,
        "metric": task.metric,
        "source_res": cfg.cross_res.source_res,
        "target_res": cfg.cross_res.target_res,
        **stages,
        "difference": difference(stages),
        "parameters": count_parameters(model),
        "seconds": round(seconds, 2),
        "seed": cfg.seed,
        "config": plain(cfg),
        "commits": commits_of(stages),
        **environment(device),
    }


def commits_of(stages: dict[str, dict[str, Any]]) -> list[str]:
    """The versions of the code that the stages were made with, in order, each once."""
    return list(dict.fromkeys(c for stage in stages.values() for c in stage.get("commits", [])))


def difference(stages: dict[str, dict[str, Any]]) -> float:
    """What deploying as is costs (negative) or brings, as a fraction of one."""
    return stages[AS_IS]["accuracy"] - stages[SOURCE]["accuracy"]


def table(values: dict[str, Any], model: nn.Module, folder: Path) -> str:
    """The table that a run ends with: the same however often the run was stopped and continued."""
    source, target = (f"{n}\u00d7{n}" for n in (values["source_res"], values["target_res"]))
    rows = [("dataset", f"{values['dataset']}, {source} to {target}")]
    rows += result_rows(f"at {source}: test", values[SOURCE])
    rows += result_rows(f"at {target}, as is: test", values[AS_IS])
    points = 100 * values["difference"]
    rows.append(("difference in accuracy", f"{points:+.2f} points".replace("-", "\u2212")))
    if FINE_TUNED in values:
        rows += result_rows(f"at {target}, fine-tuned: test", values[FINE_TUNED])
    rows.append(("parameters", f"{values['parameters']:,}"))
    rows += kernel_rows(model)
    rows.append(("files", str(folder)))
    return layout(rows)


def figures_of(values: dict[str, Any]) -> dict[str, float]:
    """A run's final figures under the names they have in W&B."""
    named = {
        f"{stage}/test_{name}": values[stage][name]
        for stage in (SOURCE, AS_IS, FINE_TUNED)
        for name in ("accuracy", "top5", "loss")
        if name in values.get(stage, {})
    }
    return named | {"difference": values["difference"]}
