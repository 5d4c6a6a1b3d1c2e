"""An exported network, compared with the network that it was made of before it is kept."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

import ckconv
from ckconv.errors import UsageError, check_choice, reason
from ckconv.trained import Trained
from program.files import complete
from training.export.formats import FORMATS, Inputs, Run
from training.prediction.deployed import Deployed
from training.prediction.pictures import stored_shape

BATCHES = (3, 1, 8)  # the first one is the example that is exported
TOLERANCE = 1e-4  # of the largest output, or of 1


@dataclass(frozen=True)
class Exported:
    """A file that was written, and how far it was from the network it stands for."""

    path: Path
    size: int  # bytes
    inputs: tuple[str, ...]  # as "x (batch, 1, 8, 8)"
    output: str
    samples: int  # it was compared on; 0: nothing here runs it
    difference: float  # the largest one of an output


@torch.no_grad()
def export(trained: Trained, kind: str, path: Path) -> Exported:
    """Write a trained network as a file of the format `kind`, once it was seen to compute the same.

    The file takes samples as they are stored and gives logits, or numbers; kernels are sampled
    once and for all. Nothing is written where outputs differ by over 1e-4 of the largest. Raises
    `UsageError` for that, and for networks that cannot be exported.
    """
    check_choice("format", kind, FORMATS)
    if trained.task["timed"]:
        raise UsageError(
            f"checkpoint: the network was trained on {trained.task['name']} at the samples' own "
            "times, where kernels differ from sample to sample; only those of samples one step "
            "apart can be exported"
        )
    form, network = FORMATS[kind], Deployed(trained).eval()
    frozen = Deployed(ckconv.freeze(trained)).eval()
    generator = torch.Generator().manual_seed(0)
    samples = list(_samples(trained, generator))
    free = _free_axes(trained)
    about = _about(trained, samples[0], free)
    with complete(path) as temporary:
        try:
            form.write(frozen, samples[0], free, about, temporary)
        except (UsageError, OSError):
            raise
        except Exception as error:  # the exporters have many kinds, for a layer they do not know
            why = reason(error, 300)
            raise UsageError(f"format={kind}: the network cannot be exported: {why}") from error
        run = form.read(temporary)
        difference = 0.0 if run is None else _difference(network, run, samples, str(path))
        size = temporary.stat().st_size
    shapes = [
        f"{name} ({', '.join(shape)})" for name, shape in zip(about["inputs"], about["shapes"])
    ]
    count = 0 if run is None else sum(len(inputs[0]) for inputs in samples)
    return Exported(path, size, tuple(shapes), about["output"], count, difference)


def _difference(network: Deployed, run: Run, samples: list[Inputs], where: str) -> float:
    """The largest difference between the outputs. Raises `UsageError` for too large a one."""
    found = 0.0
    for inputs in samples:
        expected, given = network(*inputs), run(*inputs)
        difference = (given - expected).abs().max().item()
        allowed = TOLERANCE * max(1.0, expected.abs().max().item())
        if given.shape != expected.shape or not difference <= allowed:
            raise UsageError(
                f"{where}: not written; for a batch of {len(inputs[0])} its outputs differ from "
                f"the network's by {difference:.1e}, where {allowed:.1e} are allowed"
            )
        found = max(found, difference)
    return found


def _samples(trained: Trained, generator: torch.Generator) -> Iterator[Inputs]:
    """Batches of random samples with the training samples' means and standard deviations."""
    channels, *size = stored_shape(trained)
    for number, batch in enumerate(BATCHES):
        length = size[-1] - number * (size[-1] // 4) if _any_length(trained) else size[-1]
        x = torch.randn(batch, channels, *size[:-1], length, generator=generator)
        if trained.task["in_channels"] == channels:
            mean, std = (v[..., :length] if v.ndim else v for v in (trained.mean, trained.std))
            x = (x * std + mean) * trained.scale
        lengths = torch.randint(1, length + 1, (batch,), generator=generator)
        yield (x, lengths) if trained.padded else (x,)


def _any_length(trained: Trained) -> bool:
    """Whether it takes sequences of other lengths than those it was trained on."""
    by_step = trained.mean.ndim > 0 and trained.mean.shape[-1] > 1
    return len(stored_shape(trained)) == 2 and not by_step


def _free_axes(trained: Trained) -> list[dict[int, str]]:
    axes = {0: "batch"} | ({2: "length"} if _any_length(trained) else {})
    return [axes, {0: "batch"}] if trained.padded else [axes]


def _about(trained: Trained, example: Inputs, free: list[dict[int, str]]) -> dict[str, object]:
    """What a reader of the file has to know: the names and shapes of inputs, the classes."""
    is_classes = trained.task["loss"] == "cross_entropy"
    return {
        "inputs": ["x", "lengths"][: len(example)],
        "shapes": [
            [axes.get(axis, str(n)) for axis, n in enumerate(x.shape)]
            for x, axes in zip(example, free)
        ],
        "output": "logits" if is_classes else "values",
        "class_names": list(trained.class_names),
        "dataset": trained.task["name"],
    }
