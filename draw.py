"""The pictures of a finished run, drawn again: as PDF or SVG for a paper."""

from __future__ import annotations

import cfg  # noqa: F401  # before torch, for how its threads wait

from dataclasses import dataclass
from pathlib import Path

from program.device import choose_device
from program.words.plain import flag, plain_program
from training.prediction.again import check, draw


@dataclass
class Draw:
    checkpoint: str = flag("", "a run's folder or checkpoint, a saved network, a name as digits")
    kernels: str = flag("kernels.pdf", "masks and kernels: .pdf, .svg or .png; empty: none")
    spectra: str = flag("", "the spectra of 2-D kernels")
    receptive: str = flag("", "what every layer sees of the input, with a table in numbers")
    curves: str = flag("", "losses, results and the learning rate over the epochs")
    sizes: str = flag("", "how the kernels grew over the epochs")
    device: str = flag("cpu", "auto, cuda, cpu")


@plain_program(Draw)
def main(flags: Draw) -> None:
    """Draw a trained network's kernels, spectra, receptive fields, and how it was trained."""
    names = ("kernels", "spectra", "receptive", "curves", "sizes")
    paths = {name: Path(getattr(flags, name)) for name in names if getattr(flags, name)}
    check(flags.checkpoint, paths)
    draw(flags.checkpoint, paths, choose_device(flags.device))
    drawn = [str(path) for path in paths.values() if path.exists()]
    missing = [name for name, path in paths.items() if not path.exists()]
    if missing:
        print(f"no {' and no '.join(missing)}: the network has no continuous kernels, or no record")
    if drawn:
        print(f"drew {' and '.join(drawn)}")


if __name__ == "__main__":
    main()
