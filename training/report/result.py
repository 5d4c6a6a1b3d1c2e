"""What a run ends with: a table on the terminal and `result.json`."""

from __future__ import annotations

from cfg.flags import plain
from cfg.schema import Config

import textwrap
from pathlib import Path
from typing import Any

import torch
from torch import nn

from datasets import Task, is_own
from program.environment import commit, environment
from program.words.tables import layout
from training.report.epochs import result_text
from training.report.layers import Layer, count_parameters, fixed_sizes, generated_layers, size_text
from training.report.progress import Progress

CLASSES_WIDTH = 60  # characters of the classes' names in the table


def result(
    cfg: Config,
    task: Task,
    model: nn.Module,
    test: dict[str, float],
    progress: Progress | None,
    seconds: float,
    device: torch.device,
    before: dict[str, float] | None = None,
) -> dict[str, Any]:
    """Everything that is known of a finished run. `progress` is None where it only tested."""
    return {
        "status": "finished",
        "dataset": task.name,
        "data": data_of(cfg),
        "metric": task.metric,
        "class_names": list(task.class_names),
        "test": test,
        "test_before_train": before,
        "selected_on": selected_on(cfg, progress),
        "best_epoch": progress.best_epoch if progress else None,
        "best_result": progress.best if progress else None,
        "epochs": progress.epoch if progress else 0,
        "parameters": count_parameters(model),
        "kernel_sizes": {layer.name: list(layer.size) for layer in generated_layers(model)},
        "seconds": round(seconds, 2),
        "seconds_in_epochs": round(progress.seconds, 2) if progress else 0.0,
        "seed": cfg.seed,
        "config": plain(cfg),
        "commits": progress.commits if progress else [commit()],
        **environment(device),
    }


def data_of(cfg: Config) -> str | None:
    """Where data of one's own lie, which are the data set; None for those known by name."""
    root = cfg.dataset_params.root
    return str(Path(root).expanduser().absolute()) if root and is_own(cfg.dataset) else None


def selected_on(cfg: Config, progress: Progress | None) -> str | None:
    """The split that the tested epoch was chosen by, None where the last one was tested."""
    return cfg.train.select_on if progress and progress.best_epoch else None


def table(values: dict[str, Any], model: nn.Module, folder: Path) -> str:
    """The table that a run ends with."""
    rows = [("dataset", values["dataset"])]
    if values["class_names"]:
        names = ", ".join(values["class_names"])
        rows.append(("classes", textwrap.shorten(names, CLASSES_WIDTH, placeholder=" ...")))
    params = values["config"]["dataset_params"]
    if params["sr_train"] != params["sr_test"]:
        text = describe_rates(params["sr_train"], params["sr_test"])
        rows.append(("sampling", f"{text}; sr_positions={params['sr_positions']}"))
    if values["test_before_train"]:
        rows += result_rows("test, before training,", values["test_before_train"])
    rows += result_rows("test", values["test"])
    if values["epochs"]:
        rows.append(("best epoch", _best_epoch_text(values)))
    rows.append(("parameters", f"{values['parameters']:,}"))
    rows += kernel_rows(model)
    rows.append(("wall time", duration(values["seconds"])))
    rows.append(("files", str(folder)))
    return layout(rows)


def kernel_rows(model: nn.Module) -> list[tuple[str, str]]:
    """The rows of a table that give a network's kernel sizes."""
    rows = []
    layers = generated_layers(model)
    for layer in layers:
        cropped = layer.size != layer.full_size
        of = f" of {size_text(layer.full_size)}" if cropped else ""
        rows.append((f"kernel of {layer.name}", size_text(layer.size) + of + extreme(layer)))
    if not layers:
        rows.append(("kernel size", ", ".join(size_text(s) for s in fixed_sizes(model)) or "1"))
    return rows


def extreme(layer: Layer) -> str:
    """What a learned size says that lies at an end of what it can be; empty for others."""
    if layer.mask is None or not layer.mask.dynamic_cropping or max(layer.full_size) == 1:
        return ""
    if max(layer.size) == 1:
        return ", collapsed to a single sample"
    reached = [own == full > 1 for own, full in zip(layer.size, layer.full_size)]
    return ", at its horizon: a larger conv.horizon may do better" if any(reached) else ""


def result_rows(prefix: str, results: dict[str, float]) -> list[tuple[str, str]]:
    """The rows of a table that give the results on a split."""
    rows = []
    for name in ("auc", "accuracy", "top5", "mse", "loss"):
        if name not in results or (name == "loss" and "mse" in results):
            continue
        text = result_text(name, results[name])
        if name in ("accuracy", "top5"):
            right = round(results[name] * results["targets"])
            text += f" ({right:,} of {results['targets']:,})"
        label = "top-5 accuracy" if name == "top5" else name
        rows.append((f"{prefix} {label}", text))
    return rows


def _best_epoch_text(values: dict[str, Any]) -> str:
    if not values["best_epoch"]:
        return f"{values['epochs']}, the last: no samples are held out"
    by = f"by {values['selected_on']} {values['metric']}"
    best = result_text(values["metric"], values["best_result"])
    return f"{values['best_epoch']} of {values['epochs']}, {by} ({best})"


def duration(seconds: float) -> str:
    """Seconds as `12.3 s`, `4 min 05 s` or `2 h 03 min`."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes = int(seconds) // 60
    if minutes < 60:
        return f"{minutes} min {int(seconds) % 60:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def describe_rates(sr_train: int, sr_test: int) -> str:
    """As `trained on every sample, tested on every 2nd`."""
    words = {1: "sample", 2: "2nd"}
    train, test = (words.get(n, f"{n}th") for n in (sr_train, sr_test))
    return f"trained on every {train}, tested on every {test}"
