"""Telling whether a module's weights are still what they were."""

from __future__ import annotations

from torch import nn


class Versions:
    """The state of a module's parameters and buffers at one moment, without copying them.

    Looking is cheap enough for every forward pass: it walks a list, not the tree of modules.
    """

    def __init__(self, module: nn.Module) -> None:
        self._seen = [
            (table, name, tensor, tensor.data_ptr(), tensor._version)
            for part in module.modules()
            for table in (part._parameters, part._buffers)
            for name, tensor in table.items()
            if tensor is not None
        ]

    def hold(self) -> bool:
        """Whether no tensor has been written to, replaced or moved since."""
        return all(
            table.get(name) is tensor
            and tensor._version == version
            and tensor.data_ptr() == pointer
            for table, name, tensor, pointer, version in self._seen
        )
