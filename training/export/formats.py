"""The files that a trained network can be exported to, and what runs them."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ckconv.errors import UsageError

ABOUT = "about.json"  # beside the weights in a file of PyTorch: shapes, class names
Inputs = tuple[Tensor, ...]
Run = Callable[..., Tensor]


@dataclass(frozen=True)
class Format:
    """A kind of file.

    `write(network, inputs, free, about, path)` makes one, with `inputs` as an example, `free` the
    axes of each that may have any length, by their names, and `about` for those who read it.
    `read(path)` gives what runs it, or None where that is not installed.
    """

    suffix: str
    write: Callable[[nn.Module, Inputs, list[dict[int, str]], Mapping[str, Any], Path], None]
    read: Callable[[Path], Run | None]


def _write_onnx(
    network: nn.Module,
    inputs: Inputs,
    free: list[dict[int, str]],
    about: Mapping[str, Any],
    path: Path,
) -> None:
    try:
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise UsageError(
            "format=onnx: needs onnx and onnxscript; pip install '.[onnx]' adds them"
        ) from error
    with _quietly():
        program = torch.onnx.export(
            network,
            inputs,
            dynamo=True,
            verbose=False,
            input_names=about["inputs"],
            output_names=[about["output"]],
            dynamic_shapes=_dims(free),
        )
    for name, value in about.items():
        program.model.metadata_props[name] = value if isinstance(value, str) else json.dumps(value)
    program.save(path, external_data=False)


def _read_onnx(path: Path) -> Run | None:
    try:
        import onnxruntime
    except ImportError:
        return None
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [one.name for one in session.get_inputs()]

    def run(*inputs: Tensor) -> Tensor:
        (output,) = session.run(None, dict(zip(names, (x.numpy() for x in inputs))))
        return torch.from_numpy(output)

    return run


def _write_export(
    network: nn.Module,
    inputs: Inputs,
    free: list[dict[int, str]],
    about: Mapping[str, Any],
    path: Path,
) -> None:
    with _quietly():
        program = torch.export.export(network, inputs, dynamic_shapes=_dims(free))
        with open(path, "wb") as file:
            torch.export.save(program, file, extra_files={ABOUT: json.dumps(about)})


def _read_export(path: Path) -> Run:
    with _quietly(), open(path, "rb") as file:
        return torch.export.load(file).module()


def _write_torchscript(
    network: nn.Module,
    inputs: Inputs,
    free: list[dict[int, str]],
    about: Mapping[str, Any],
    path: Path,
) -> None:
    with _quietly():
        traced = torch.jit.freeze(torch.jit.trace(network, inputs, check_trace=False))
        torch.jit.save(traced, path, {ABOUT: json.dumps(about)})


def _read_torchscript(path: Path) -> Run:
    with _quietly():
        return torch.jit.load(path)


def _dims(free: list[dict[int, str]]) -> list[dict[int, torch.export.Dim]]:
    """The axes of any length as the exporters name them, one of a name for all inputs."""
    names = {name for axes in free for name in axes.values()}
    dims = {name: torch.export.Dim(name, min=1) for name in names}
    return [{axis: dims[name] for axis, name in axes.items()} for axes in free]


@contextmanager
def _quietly() -> Iterator[None]:
    """Without the exporters' notes on how they work."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


FORMATS = {
    "onnx": Format(".onnx", _write_onnx, _read_onnx),
    "torch-export": Format(".pt2", _write_export, _read_export),
    "torchscript": Format(".pt", _write_torchscript, _read_torchscript),
}
