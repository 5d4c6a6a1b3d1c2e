"""The pictures of a finished run, drawn again into files of one's own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch

from ckconv.errors import UsageError
from ckconv.trained import from_plain
from datasets.task import Task
from program.files import PICTURES
from program.folder import METRICS
from training.crossres.spectra import save_spectra
from training.prediction.deployed import load
from training.report import curves, figures, receptive
from training.sampling_rate import fix_kernel_sizes

OF_EPOCHS = {"curves": curves.save_curves, "sizes": curves.save_sizes}


def check(checkpoint: str, paths: Mapping[str, Path]) -> None:
    """Raise `UsageError` for pictures that cannot be drawn, before anything is loaded."""
    if not checkpoint:
        raise UsageError("checkpoint: give a run's folder or a checkpoint, as checkpoint=best.pt")
    if not paths:
        raise UsageError("nothing is to be drawn; name a file for a picture, as kernels=a.pdf")
    for name, path in paths.items():
        if path.suffix.lower().removeprefix(".") not in PICTURES:
            raise UsageError(f"{name}={path}: pictures are written as .{', .'.join(PICTURES)}")
    for name in OF_EPOCHS.keys() & paths.keys():
        if not (_folder(checkpoint) / METRICS).exists():
            raise UsageError(
                f"{name}: is drawn from the {METRICS} of a run's folder, and {checkpoint} has none "
                "beside it"
            )


def draw(checkpoint: str, paths: Mapping[str, Path], device: torch.device) -> None:
    """Draw the pictures of these names into these files; `check` has passed them.

    Those of continuous kernels are left out for a network without. Receptive fields are printed
    too.
    """
    for name in OF_EPOCHS.keys() & paths.keys():
        history = curves.read_history(_folder(checkpoint) / METRICS)
        OF_EPOCHS[name](history, paths[name], _folder(checkpoint).resolve().name)
    if not paths.keys() - OF_EPOCHS.keys():
        return
    trained = load(checkpoint, device)
    network, task = trained.network, from_plain(Task, trained.task)
    title = f"{trained.config['net']['type']} on {task.name}"
    fix_kernel_sizes(network, task)
    if "kernels" in paths:
        figures.save_kernels(network, paths["kernels"], title)
    if "spectra" in paths:
        save_spectra(network, paths["spectra"])
    if "receptive" in paths:
        fields = receptive.fields_of(network, task)
        print(receptive.fields_table(fields))
        receptive.save_fields(fields, paths["receptive"], f"{title}: effective receptive fields")


def _folder(checkpoint: str) -> Path:
    """The run's folder that a path is, or lies in."""
    path = Path(checkpoint).expanduser()
    return path if path.is_dir() else path.parent
