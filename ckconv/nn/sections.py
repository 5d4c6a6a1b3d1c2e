"""Named sections of the layers' work, which a profiler turns on; otherwise they do nothing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar

import torch
from torch import nn
from torch.profiler import record_function

SECTIONS = ("generation", "masking", "convolution")
TOGETHER = "(all layers at once)"
MARK = "layer"

_NAMES: ContextVar[dict[nn.Module, str] | None] = ContextVar("names", default=None)


def section(kind: str, layer: nn.Module | None = None) -> AbstractContextManager:
    """A range of a profile, called `layer/<kind>/<the layer's name>`, where they are turned on.

    `kind` is one of `SECTIONS`; None as layer: all of them at once.
    """
    names = None if torch.compiler.is_compiling() else _NAMES.get()
    if names is None or not (layer is None or layer in names):
        return nullcontext()
    return record_function(label(kind, TOGETHER if layer is None else names[layer]))


def label(kind: str, name: str) -> str:
    """What the range of a section is called."""
    return f"{MARK}/{kind}/{name}"


@contextmanager
def named_sections(model: nn.Module) -> Iterator[None]:
    """Within the block, and this thread, the sections of `model`'s layers are ranges."""
    token = _NAMES.set({module: name for name, module in model.named_modules()})
    try:
        yield
    finally:
        _NAMES.reset(token)
