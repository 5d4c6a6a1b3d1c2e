"""The page as one file: markup, style, script and data in it."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from torch import nn

from ckconv.checkpoint import write_whole
from ckconv.errors import UsageError
from ckconv.explore.data import KERNELS, described, network_data
from ckconv.nn.conv import CKConv
from ckconv.nn.sized import fix_sizes
from ckconv.trained import load

PARTS = Path(__file__).resolve().parent / "page"
SCRIPTS = ("data.js", "canvas.js", "panels.js", "main.js")


def page(network: nn.Module, title: str = "", kernels: int = KERNELS) -> str:
    """The HTML page of a network whose kernel sizes are known, with all that it shows in it.

    Raises `UsageError` for a network without continuous kernels.
    """
    data = json.dumps(network_data(network, title, kernels), separators=(",", ":"))
    parts = {
        "title": title or "kernels",
        "style": (PARTS / "style.css").read_text(),
        "data": data.replace("<", "\\u003c"),  # nothing in it ends the element that it is in
        "script": "\n".join((PARTS / name).read_text() for name in SCRIPTS),
    }
    text = (PARTS / "index.html").read_text()
    for name, value in parts.items():
        text = text.replace(f"@@{name}@@", value)
    return text


def write_page(
    network: nn.Module, path: str | os.PathLike[str], title: str = "", kernels: int = KERNELS
) -> None:
    """Write `page` into a file, whole or not at all."""
    write_whole(Path(path), page(network, title, kernels).encode())


def main(arguments: Sequence[str] | None = None) -> int:
    """`python -m ckconv.explore CHECKPOINT`; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m ckconv.explore",
        description="Write a page that shows a trained network's kernels: one HTML file, which any "
        "browser opens, also without a network.",
    )
    parser.add_argument(
        "checkpoint", help="a run's folder, a checkpoint file of a run, or a saved network"
    )
    parser.add_argument("--out", type=Path, default=Path("explore.html"), help="%(default)s")
    parser.add_argument("--kernels", type=int, default=KERNELS, help="of each layer (%(default)s)")
    chosen = parser.parse_args(arguments)
    try:
        if chosen.kernels < 1:
            raise UsageError(f"--kernels {chosen.kernels}: give a number of at least 1")
        trained = load(chosen.checkpoint)
        network, task = trained.network, trained.task
        layers = [module for module in network.modules() if isinstance(module, CKConv)]
        if not all(layer.kernel_size for layer in layers):  # of an older checkpoint
            fix_sizes(network, task["in_channels"], task["size"])
        write_page(network, chosen.out, described(trained.config, task), chosen.kernels)
    except (UsageError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    size = chosen.out.stat().st_size / 2**20
    print(f"{chosen.out.resolve()}: {size:.1f} MiB; open it in a browser")
    return 0
