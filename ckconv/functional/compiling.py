"""What stays out of compiled code, without loading the compiler before anything is compiled."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import torch

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


def not_compiled(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """`torch.compiler.disable` as a decorator, which alone would load the compiler on import.

    That takes a second, and fails where the user has no name, as in containers.
    """
    apart = torch._disable_dynamo(function)  # loads the compiler when it is called

    @functools.wraps(function)
    def call(*args: Arguments.args, **named: Arguments.kwargs) -> Result:
        return (apart if torch.compiler.is_compiling() else function)(*args, **named)

    return call
