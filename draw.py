"""The pictures of a finished run, drawn again: as PDF or SVG for a paper."""

from __future__ import annotations

from cfg.schema import Config

from dataclasses import dataclass
from pathlib import Path

from ckconv.errors import UsageError
from ckconv.trained import from_plain
from datasets import Task
from program.device import choose_device
from program.words.plain import flag, plain_program
from training.crossres.spectra import save_spectra
from training.prediction.deployed import load
from training.report.figures import save_kernels
from training.sampling_rate import fix_kernel_sizes


@dataclass
class Draw:
    checkpoint: str = flag("", "a run's folder or checkpoint, a saved network, a name as digits")
    kernels: str = flag("kernels.pdf", "the picture of masks and kernels: .pdf, .svg or .png")
    spectra: str = flag("", "that of the spectra of 2-D kernels; empty: none")
    device: str = flag("cpu", "auto, cuda, cpu")


@plain_program(Draw)
def main(flags: Draw) -> None:
    """Draw a trained network's kernels, and their spectra, as its run did."""
    if not flags.checkpoint:
        raise UsageError("checkpoint: give a run's folder or a checkpoint, as checkpoint=best.pt")
    trained = load(flags.checkpoint, choose_device(flags.device))
    config, task = from_plain(Config, trained.config), from_plain(Task, trained.task)
    fix_kernel_sizes(trained.network, task)
    save_kernels(trained.network, Path(flags.kernels), f"{config.net.type} on {task.name}")
    if flags.spectra:
        save_spectra(trained.network, Path(flags.spectra))
    drawn = [path for path in (flags.kernels, flags.spectra) if path and Path(path).exists()]
    print(f"drew {' and '.join(drawn) or 'nothing: the network has no continuous kernels'}")


if __name__ == "__main__":
    main()
