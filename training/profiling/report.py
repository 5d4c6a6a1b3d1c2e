"""What a profile ends with: a table, `profile.json`, `timings.csv` and a picture."""

from __future__ import annotations

from cfg.flags import plain
from cfg.schema import Config

import csv
import io
from pathlib import Path
from typing import Any

import torch
from torch import nn

from datasets.task import Task
from program.environment import environment
from program.files import write, write_figure, write_json
from program.folder import PROFILE, PROFILE_PICTURE, TIMINGS, write_config
from program.words.tables import layout, padded
from training.profiling.measure import PYTHON, REST, SECTIONS, Profile
from training.report.layers import generated_layers, size_text

OPERATIONS = 15  # shown; the file has all of them
COLOURS = {
    "generation": "#0072b2",
    "masking": "#e69f00",
    "convolution": "#009e73",
    REST: "#bbbbbb",
}


def result(
    cfg: Config,
    task: Task,
    model: nn.Module,
    found: Profile,
    shape: list[int],
    device: torch.device,
) -> dict[str, Any]:
    """Everything that is known of a finished profile, times in milliseconds per step."""
    sizes = kernel_sizes(model)
    layers = {
        name: {"kernel_size": list(sizes.get(name, ())), **times, "total": sum(times.values())}
        for name, times in found.layers().items()
    }
    return {
        "status": "finished",
        "dataset": task.name,
        "network": cfg.net.type,
        "mode": cfg.profile.mode,
        "data_mode": cfg.profile.data_mode,
        "data_shape": shape,
        "steps": found.steps,
        "step_ms": found.seconds_per_step * 1e3,
        "step_ms_all": [seconds * 1e3 for seconds in found.seconds],
        "profiled_step_ms": found.per_step(found.total),
        "shares": found.shares(),
        "layers": layers,
        "peak_bytes": found.peak_bytes,
        "config": plain(cfg),
        **environment(device),
    }


def kernel_sizes(model: nn.Module) -> dict[str, tuple[int, ...]]:
    """The kernel sizes in use of all convolutions, by name."""
    sizes = {layer.name: tuple(layer.size) for layer in generated_layers(model)}
    for name, module in model.named_modules():
        if isinstance(module, nn.Conv1d | nn.Conv2d):
            sizes[name] = tuple(module.kernel_size)
    return sizes


def write_files(folder: Path, cfg: Config, values: dict[str, Any], found: Profile) -> None:
    """Write a profile's config, figures, timings and picture."""
    write_config(folder, cfg)
    write_json(folder / PROFILE, values)
    write_timings(folder / TIMINGS, found)
    save_picture(folder / PROFILE_PICTURE, values, found)


def write_timings(path: Path, found: Profile) -> None:
    """Write every section, layer and operation as a row, in milliseconds per step.

    `own` times of operations, and those of sections, add up to the step's.
    """
    total = found.per_step(found.total)
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(("kind", "name", "calls_per_step", "own_ms", "total_ms", "share"))

    def row(kind: str, name: str, calls: int | str, own: float, whole: float) -> None:
        share = own / total
        writer.writerow((kind, name, calls, f"{own:.6f}", f"{whole:.6f}", f"{share:.6f}"))

    row("step", "step", 1, total, total)
    for section, share in found.shares().items():
        row("section", section, "", share * total, share * total)
    for layer, times in found.layers().items():
        row("layer", layer, "", sum(times.values()), sum(times.values()))
    for name, calls, own, whole in found.costliest():
        row("operation", name, calls, own, whole)
    write(path, text.getvalue())


def table(values: dict[str, Any], found: Profile, folder: Path) -> str:
    """The table that the profiler ends with."""
    total = values["profiled_step_ms"]
    on = "kernels on the GPU" if values["device"] != "cpu" else "profiled"
    rows = [
        ("step", f"{values['mode']}, {values['data_mode']} data {values['data_shape']}"),
        ("time per step", f"{values['step_ms']:.2f} ms, median of {values['steps']}"),
        (f"  {on}", f"{total:.2f} ms"),
    ]
    for name, share in values["shares"].items():
        rows.append((f"  {name}", f"{100 * share:5.1f} %"))
    rows.append(("peak memory", f"{values['peak_bytes'] / 2**20:,.1f} MiB of tensors"))
    layers = ["layer", "kernel", *SECTIONS, "ms/step"]
    body = [
        [name, size_text(tuple(x["kernel_size"])) or "-"]
        + [f"{x[section]:.3f}" for section in (*SECTIONS, "total")]
        for name, x in values["layers"].items()
    ]
    operations = [
        [name, "-" if name == PYTHON else str(calls), f"{own:.3f}", f"{100 * own / total:.1f} %"]
        for name, calls, own, _ in found.costliest()[:OPERATIONS]
    ]
    return "\n\n".join(
        [
            padded(["costliest operation", "calls", "own ms/step", "share"], operations),
            padded(layers, body),
            layout([*rows, ("files", str(folder))]),
        ]
    )


def save_picture(path: Path, values: dict[str, Any], found: Profile) -> None:
    """Draw the sections' shares, the layers' times and the costliest operations into a PNG."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    layers = values["layers"]
    operations = found.costliest()[:OPERATIONS]
    heights = [1.0, 0.28 * len(layers) + 0.9, 0.28 * len(operations) + 0.9]
    figure, axes = plt.subplots(
        3, 1, figsize=(9, sum(heights) + 1), height_ratios=heights, layout="constrained"
    )
    _draw_shares(axes[0], values["shares"])
    _draw_layers(axes[1], layers)
    names = [name if len(name) < 50 else name[:47] + "..." for name, *_ in operations]
    axes[2].barh(range(len(names)), [own for _, _, own, _ in operations], color="#56b4e9")
    _name_rows(axes[2], names, "costliest operations, own ms per step")
    size = "\u00d7".join(map(str, values["data_shape"]))
    figure.suptitle(
        f"{values['network']} on {values['dataset']}, {values['mode']} step on {size}: "
        f"{values['step_ms']:.1f} ms, {values['peak_bytes'] / 2**20:,.0f} MiB",
        fontsize=11,
    )
    write_figure(path, figure, dpi=130)
    plt.close(figure)


def _draw_shares(axis, shares: dict[str, float]) -> None:
    left = 0.0
    for name, share in shares.items():
        axis.barh(0, share, left=left, color=COLOURS[name], label=f"{name} {100 * share:.1f} %")
        left += share
    axis.set_xlim(0, 1)
    axis.axis("off")
    axis.legend(ncols=len(shares), loc="lower center", bbox_to_anchor=(0.5, 0.9), fontsize=8)


def _draw_layers(axis, layers: dict[str, dict[str, Any]]) -> None:
    left = [0.0] * len(layers)
    for section in SECTIONS:
        widths = [times[section] for times in layers.values()]
        axis.barh(range(len(layers)), widths, left=left, color=COLOURS[section])
        left = [a + b for a, b in zip(left, widths)]
    names = [
        f"{name}  {size_text(tuple(times['kernel_size']))}".rstrip()
        for name, times in layers.items()
    ]
    _name_rows(axis, names, "layers, forward and backward, ms per step")


def _name_rows(axis, names: list[str], title: str) -> None:
    axis.set_yticks(range(len(names)), names, fontsize=7)
    axis.invert_yaxis()
    axis.margins(y=0.02)
    axis.set_title(title, fontsize=9, loc="left")
    axis.tick_params(axis="x", labelsize=7)
    axis.spines[["top", "right"]].set_visible(False)
