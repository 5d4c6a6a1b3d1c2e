"""The shapes that the library's signatures promise, checked while it computes.

The library does not import jaxtyping: its annotations stay text. Here their names are given to its
modules, and every function that has such an annotation is replaced by one that is checked.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import jaxtyping
import pytest
import torch
from beartype import BeartypeConf, beartype

import ckconv
from ckconv import ConvConfig, KernelConfig, NetConfig, antialiasing, spectra
from ckconv.models import FlexNet, FlexTCN
from ckconv.nn import CKConv, FlexConv, NJet, ck

CHECKER = beartype(conf=BeartypeConf(is_pep484_tower=True))  # an int is a float too


def modules() -> list[ModuleType]:
    names = [m.name for m in pkgutil.walk_packages(ckconv.__path__, "ckconv.")]
    return [importlib.import_module(name) for name in names if not name.endswith("__main__")]


def has_shapes(function: Any) -> bool:
    return inspect.isfunction(function) and any(
        "[Tensor" in str(text) for text in function.__annotations__.values()
    )


def annotated(module: ModuleType) -> Iterator[tuple[Any, str, Any]]:
    """(owner, name, function) of everything in a module whose signature has shapes."""
    for name, value in vars(module).items():
        if getattr(value, "__module__", None) != module.__name__:
            continue
        if has_shapes(value):
            yield module, name, value
        elif inspect.isclass(value):
            yield from (
                (value, key, function)
                for key, function in vars(value).items()
                if has_shapes(function)
            )


@pytest.fixture
def checked(monkeypatch: pytest.MonkeyPatch) -> int:
    """Checks all signatures with shapes; gives their number."""
    found = [(m, item) for m in modules() for item in list(annotated(m))]
    for module, (owner, name, function) in found:
        monkeypatch.setattr(module, "Float", jaxtyping.Float, raising=False)
        checking = jaxtyping.jaxtyped(function, typechecker=CHECKER)
        monkeypatch.setattr(owner, name, checking)
    return len(found)


@pytest.mark.parametrize("dim", [1, 2])
@pytest.mark.parametrize("name", list(ck.GENERATORS))
def test_generators_and_layers_keep_their_shapes(checked: int, name: str, dim: int) -> None:
    kernel = KernelConfig(type=name, no_hidden=4, no_layers=2)
    assert ck.build(kernel, dim, 6)(torch.rand(1, dim, *[5, 3][:dim])).shape[1] == 6
    layer = FlexConv(2, 3, dim, kernel, ConvConfig(horizon="7"))
    y = layer(torch.randn(2, 2, *[9, 8][:dim]))
    y.sum().backward()
    assert y.shape == (2, 3, *[9, 8][:dim])
    assert spectra.sampled(layer, 7, 2).shape == (6, *[13] * dim)


def test_networks_and_frequencies_keep_their_shapes(checked: int) -> None:
    net, kernel = NetConfig(no_hidden=4, no_blocks=1), KernelConfig(no_hidden=4)
    image = FlexNet(1, 3, 2, net=net, kernel=kernel, conv=ConvConfig(horizon="5"))
    assert image(torch.randn(2, 1, 8, 8)).shape == (2, 3)
    assert antialiasing.regularizer(image, 5, 0.1).ndim == 0
    sequence = FlexTCN(1, 3, net=net, kernel=kernel, per_step=True)
    assert sequence(torch.randn(2, 1, 20)).shape == (2, 3, 20)
    assert NJet(1, 2)(torch.randn(1, 1, 9, 9)).shape == (1, 2, 9, 9)
    assert CKConv(1, 2, 1)(torch.randn(1, 1, 9)).shape == (1, 2, 9)


def test_a_wrong_shape_is_noticed(checked: int) -> None:
    assert checked >= 25
    with pytest.raises(jaxtyping.TypeCheckError):
        ck.PointwiseLinear(2, 3)(torch.randn(2))
