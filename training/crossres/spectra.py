"""A picture of the kernels' spectra, in which aliasing shows."""

from __future__ import annotations

import copy
from pathlib import Path

from torch import nn

from ckconv.nn import CKConv
from program.files import complete


def save_spectra(model: nn.Module, path: Path) -> None:
    """Draw a kernel of every layer with its spectrum, its bound and Nyquist into a PNG.

    Nothing is written for a network without continuous kernels.
    """
    from ckconv.antialiasing.picture import draw

    layers = {
        name: copy.deepcopy(module).cpu()
        for name, module in model.named_modules()
        if isinstance(module, CKConv) and module.dim == 2
    }
    if not layers:
        return
    size = min(min(layer.kernel_size) for layer in layers.values())
    with complete(path) as temporary:
        draw(layers, temporary, size, finer=2)
