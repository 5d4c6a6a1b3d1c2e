"""Time training and evaluation steps of the papers' networks, in several ways in turn.

    python benchmarks/run.py                                    everything; takes a while
    python benchmarks/run.py --workloads 'flextcn2-*' --modes train
    python benchmarks/run.py --list

Every backend takes a step of the same network, round after round; medians, spreads and ratios
come from the same run. Writes JSON, a table and a chart.
"""

from __future__ import annotations

import argparse
import fnmatch
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import cfg  # noqa: E402, F401  # before torch, for how its threads wait

import torch  # noqa: E402

from benchmarks import report  # noqa: E402
from benchmarks.backends import BACKENDS, COMPARED, Backend  # noqa: E402
from benchmarks.epoch import time_epoch  # noqa: E402
from benchmarks.measure import (  # noqa: E402
    MODES,
    Settings,
    add_options,
    chosen_device,
    compare,
    machine,
)
from benchmarks.workloads import PRECISIONS, WORKLOADS, Workload  # noqa: E402
from ckconv.errors import UsageError  # noqa: E402
from program import device as runtime  # noqa: E402
from program.environment import environment  # noqa: E402
from program.files import write, write_json  # noqa: E402


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--workloads",
        nargs="+",
        default=["*"],
        metavar="NAME",
        help="names, or patterns as 'flex*'",
    )
    parser.add_argument("--modes", nargs="+", choices=MODES, default=["train", "evaluate"])
    parser.add_argument("--backends", nargs="+", choices=(*BACKENDS, "all"), default=list(COMPARED))
    parser.add_argument("--precision", choices=PRECISIONS, default="fp32")
    parser.add_argument(
        "--flags", nargs="+", default=[], metavar="FLAG=VALUE", help="as train.channels_last=True"
    )
    parser.add_argument("--slow", action="store_true", help="leave out nothing, however slow")
    parser.add_argument("--resident", action="store_true", help="also the memory of the process")
    parser.add_argument("--data", default="", help="where CIFAR-10 lies, for the epochs on a GPU")
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks" / "results")
    parser.add_argument("--name", default="", help="of the files; default: device and precision")
    parser.add_argument("--add", action="store_true", help="keep the file's other workloads")
    parser.add_argument("--list", action="store_true", help="list the workloads and stop")
    add_options(parser)
    return parser


def chosen_workloads(parser: argparse.ArgumentParser, patterns: Sequence[str]) -> list[Workload]:
    """The workloads that match, in their own order."""
    for pattern in patterns:
        if not fnmatch.filter(WORKLOADS, pattern):
            parser.error(f"--workloads {pattern}: none is called so; --list shows them all")
    return [w for n, w in WORKLOADS.items() if any(fnmatch.fnmatch(n, p) for p in patterns)]


def chosen_backends(names: Sequence[str]) -> list[Backend]:
    """The backends that are asked for and installed, in their own order."""
    asked = [b for b in BACKENDS.values() if "all" in names or b.name in names]
    for backend in asked:
        if not backend.is_installed:
            print(f"{backend.label}: not installed, left out")
    return [backend for backend in asked if backend.is_installed]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = make_parser()
    args = parser.parse_args(arguments)
    workloads = chosen_workloads(parser, args.workloads)
    if args.list:
        print("\n".join(workload.name for workload in workloads))
        return
    device = chosen_device(parser, args)
    backends = chosen_backends(args.backends)
    try:
        workloads[0].config(args.precision, tuple(args.flags))
    except UsageError as error:
        parser.error(f"--flags: {error}")
    settings = Settings(
        device,
        args.precision,
        args.rounds,
        args.clock,
        args.slow,
        args.resident,
        tuple(args.flags),
    )
    runtime.allow_tf32(args.precision == "tf32")
    runtime.seed_everything(0)
    files = args.output / (args.name or f"{device.type}-{args.precision}")
    args.output.mkdir(parents=True, exist_ok=True)
    values = start(files, settings, args.add)
    for workload in workloads:
        if workload.is_epoch:
            run_epoch(workload, backends, settings, args.data, values)
        else:
            for mode in args.modes:
                run_workload(workload, backends, mode, settings, values)
        save(files, values)
    print(f"wrote {files}.json, .md and .png")


def start(files: Path, settings: Settings, add: bool) -> dict[str, Any]:
    """The values to fill in: empty, or those that the file holds already."""
    commit = {key: environment(settings.device)[key] for key in ("commit", "dirty", "python")}
    plain = {**asdict(settings), "device": settings.device.type}
    values = {"machine": machine(settings.device), **commit, "settings": plain}
    path = files.with_name(files.name + ".json")
    kept = json.loads(path.read_text()) if add and path.exists() else {}
    return values | {key: kept.get(key, []) for key in ("results", "epochs")}


def run_workload(
    workload: Workload,
    backends: Sequence[Backend],
    mode: str,
    settings: Settings,
    values: dict[str, Any],
) -> None:
    row = compare(workload, backends, mode, settings)
    key = row["workload"], row["mode"]
    kept = [old for old in values["results"] if (old["workload"], old["mode"]) != key]
    values["results"] = in_order([*kept, row])
    taken = [
        f"{BACKENDS[name].label} "
        + (f"skipped ({r['skipped']})" if "skipped" in r else report.duration(r["seconds"]))
        for name, r in row["backends"].items()
    ]
    print(f"{workload.name}, {mode}: {', '.join(taken)}", flush=True)


def run_epoch(
    workload: Workload,
    backends: Sequence[Backend],
    settings: Settings,
    data: str,
    values: dict[str, Any],
) -> None:
    if settings.device.type != "cuda":
        print(f"{workload.name}: needs a CUDA device, left out")
        return
    row = time_epoch(workload, backends, settings, data)
    key = row["workload"], row["precision"]
    kept = [old for old in values["epochs"] if (old["workload"], old["precision"]) != key]
    values["epochs"] = [*kept, row]
    taken = [f"{BACKENDS[name].label} {s:.2f} s" for name, s in row["seconds"].items()]
    print(f"{workload.name}: {', '.join(taken)}", flush=True)


def in_order(rows: list[dict]) -> list[dict]:
    """Results in the order of the workloads and modes."""
    names = list(WORKLOADS)
    return sorted(rows, key=lambda row: (names.index(row["workload"]), MODES.index(row["mode"])))


def save(files: Path, values: dict[str, Any]) -> None:
    write_json(files.with_name(files.name + ".json"), values, indent=1)
    write(files.with_name(files.name + ".md"), report.table(values))
    report.chart(files.with_name(files.name + ".png"), values)


if __name__ == "__main__":
    torch.multiprocessing.freeze_support()
    main()
