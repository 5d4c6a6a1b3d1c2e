"""How convolutions are computed where that is not left to them, for measurements and tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass, replace

import torch
from torch import Tensor


@dataclass(frozen=True)
class Ways:
    """What `using` fixes; None: as the convolution itself would."""

    backend: str | Callable[..., Tensor] | None = None
    frames: int | None = None
    chunk: int | None = None
    tiles: bool | None = None


_FREE = Ways()
_COMPILED = Ways(tiles=False)
_WAYS: ContextVar[Ways] = ContextVar("ways", default=_FREE)


def current() -> Ways:
    """What holds here; in compiled code nothing does, and transforms are the ones it knows."""
    return _COMPILED if torch.compiler.is_compiling() else _WAYS.get()


@contextmanager
def using(
    backend: str | Callable[..., Tensor] | None = None,
    frames: int | None = None,
    chunk: int | None = None,
    tiles: bool | None = None,
) -> Iterator[None]:
    """Within the block, and this thread, compute every convolution in the same way.

    What is not given stays as it is around the block.

    Args:
        backend: `auto`, `direct` or `fft`, over what a call asks for; or a function in their place,
            given (x, kernel, bias, causal=, stride=, padding=) and what else is not the default,
            the kernel written out. Layers then compute all steps also where only the last one is
            read.
        frames: length of the transforms that sequences are cut into, no shorter than their
            kernels; 0: one transform for a whole sequence.
        chunk: numbers of a factored kernel's spectrum that exist at once.
        tiles: whether images are transformed by products of matrices, over tiles, where they can
            be; `frames` has to be left out for that.
    """
    given = {"backend": backend, "frames": frames, "chunk": chunk, "tiles": tiles}
    given = {name: value for name, value in given.items() if value is not None}
    token = _WAYS.set(replace(_WAYS.get(), **given))
    try:
        yield
    finally:
        _WAYS.reset(token)


def full_precision(device: torch.device) -> AbstractContextManager:
    """Within the block, no autocast to a lower precision on `device`."""
    if device.type == "meta":  # there is none
        return nullcontext()
    return torch.autocast(device.type, enabled=False)
