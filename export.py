"""A trained network as a file for other programs: ONNX, torch.export, TorchScript."""

from __future__ import annotations

import cfg  # noqa: F401  # before torch, for how its threads wait

from dataclasses import dataclass
from pathlib import Path

from ckconv.errors import UsageError, check_choice
from program.device import bytes_text
from program.words.plain import flag, plain_program
from training.export.formats import FORMATS
from training.export.verified import Exported, export
from training.prediction.deployed import load


@dataclass
class Export:
    checkpoint: str = flag("", "a run's folder or checkpoint, a saved network, a name as digits")
    format: str = flag("onnx", ", ".join(FORMATS))
    output: str = flag("", "the file that is written; empty: model.onnx, model.pt2 or model.pt")


@plain_program(Export)
def main(flags: Export) -> None:
    """Write a trained network as a file for other programs, and compare the two."""
    if not flags.checkpoint:
        raise UsageError("checkpoint: give a run's folder or a checkpoint, as checkpoint=best.pt")
    check_choice("format", flags.format, FORMATS)
    path = Path(flags.output or f"model{FORMATS[flags.format].suffix}").expanduser()
    if path.is_dir() or not path.parent.is_dir():
        raise UsageError(f"output={path}: give the name of a file in a folder that exists")
    print(describe(export(load(flags.checkpoint), flags.format, path)))


def describe(written: Exported) -> str:
    """What was written, and how far it is from the network."""
    text = (
        f"{written.path}: {bytes_text(written.size)}; {', '.join(written.inputs)} -> "
        f"{written.output}\n"
    )
    if not written.samples:
        return f"{text}not compared: onnxruntime is not installed; pip install '.[onnx]' adds it"
    return f"{text}largest difference {written.difference:.1e}, on {written.samples} random samples"


if __name__ == "__main__":
    main()
