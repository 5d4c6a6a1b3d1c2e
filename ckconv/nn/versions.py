"""Telling whether a module is still what it was."""

from __future__ import annotations

from torch import nn


class Versions:
    """The parts, parameters and buffers of a module at one moment, without copying them.

    Looking is cheap enough for every forward pass: it walks a list, not the tree of modules.
    """

    def __init__(self, module: nn.Module) -> None:
        parts = list(module.modules())
        self._parts = [
            (table, name, part)
            for table in (part._modules for part in parts)
            for name, part in table.items()
        ]
        self._tensors = [
            (table, name, tensor, tensor.data_ptr(), tensor._version)
            for part in parts
            for table in (part._parameters, part._buffers)
            for name, tensor in table.items()
            if tensor is not None
        ]

    def hold(self) -> bool:
        """Whether no part has been replaced since, and no tensor written to, replaced or moved."""
        return all(table.get(name) is part for table, name, part in self._parts) and all(
            table.get(name) is tensor
            and tensor._version == version
            and tensor.data_ptr() == pointer
            for table, name, tensor, pointer, version in self._tensors
        )
