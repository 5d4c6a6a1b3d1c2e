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
import ckconv.functional as F
from ckconv import ConvConfig, KernelConfig, MaskConfig, NetConfig, antialiasing, penalties, spectra
from ckconv.models import FlexNet, FlexTCN, Timed
from ckconv.nn import MASKS, CKConv, FlexConv, NJet, SepFlexConv, ck

KINDS = ("Bool", "Complex", "Float", "Inexact", "Int")
CHECKER = beartype(conf=BeartypeConf(is_pep484_tower=True))  # an int is a float too


def modules() -> list[ModuleType]:
    names = [m.name for m in pkgutil.walk_packages(ckconv.__path__, "ckconv.")]
    return [importlib.import_module(name) for name in names if not name.endswith("__main__")]


def has_shapes(function: Any) -> bool:
    return inspect.isfunction(function) and any(
        "[Tensor" in str(text) for text in function.__annotations__.values()
    )


def plain(value: Any) -> Any:
    return value.__func__ if isinstance(value, staticmethod) else value


def annotated(module: ModuleType) -> Iterator[tuple[Any, str, Any]]:
    """(owner, name, function) of everything in a module whose signature has shapes."""
    for name, value in vars(module).items():
        if getattr(value, "__module__", None) != module.__name__:
            continue
        if has_shapes(value):
            yield module, name, value
        elif inspect.isclass(value):
            yield from (
                (value, key, plain(function))
                for key, function in vars(value).items()
                if has_shapes(plain(function))
            )


@pytest.fixture(scope="module")
def checked() -> Iterator[int]:
    """Checks all signatures with shapes, wherever they were imported; gives their number."""
    with pytest.MonkeyPatch.context() as patch:
        for module in modules():
            for kind in KINDS:
                patch.setattr(module, kind, getattr(jaxtyping, kind), raising=False)
        found = [item for module in modules() for item in list(annotated(module))]
        checking: dict[Any, Any] = {}
        for owner, name, function in found:
            checking[function] = jaxtyping.jaxtyped(function, typechecker=CHECKER)
            is_static = isinstance(vars(owner)[name], staticmethod)
            new = staticmethod(checking[function]) if is_static else checking[function]
            patch.setattr(owner, name, new)
        for module in modules():
            for name, value in list(vars(module).items()):
                if inspect.isfunction(value) and value in checking:
                    patch.setattr(module, name, checking[value])
        yield len(found)


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


@pytest.mark.parametrize("backend", ["direct", "fft"])
@pytest.mark.parametrize("dim", [1, 2, 3])
def test_convolutions_keep_their_shapes(checked: int, dim: int, backend: str) -> None:
    size = [9, 7, 5][:dim]
    x, basis = torch.randn(2, 4, *size), torch.randn(3, *[5, 3, 3][:dim])
    dense = torch.randn(6, 2, *[5, 3, 3][:dim], requires_grad=True)
    factored = F.FactoredKernel(torch.randn(6, 2, 3, requires_grad=True), basis)
    alone = F.FactoredKernel(torch.randn(4, 1, 3, requires_grad=True), basis)
    for kernel, groups in ((dense, 2), (factored, 2), (alone, 4)):
        bias = torch.randn(kernel.shape[0])
        y = F.conv(x, kernel, bias, causal=dim == 1, backend=backend, groups=groups)
        y.sum().backward()
        assert y.shape == (2, kernel.shape[0], *size)
    assert F.conv(x[0], dense, backend=backend, groups=2).shape == (6, *size)
    assert F.conv(x.cfloat(), dense, backend=backend, groups=2).is_complex()


@pytest.mark.parametrize("mask", list(MASKS))
def test_masks_and_other_layers_keep_their_shapes(checked: int, mask: str) -> None:
    conv, shape = ConvConfig(horizon="7"), (torch.linspace(-1, 1, 7), torch.linspace(-1, 1, 5))
    assert MASKS[mask].build(MaskConfig(type=mask), 2, conv)(shape).shape == (7, 5)
    layer = FlexConv(2, 3, 2, KernelConfig(no_hidden=4), conv, MaskConfig(type=mask))
    assert layer(torch.randn(2, 9, 8)).shape == (3, 9, 8)
    assert SepFlexConv(2, 3, conv=conv)(torch.randn(1, 2, 9, 8)).shape == (1, 3, 9, 8)
    assert penalties.kernel_norm(layer).shape == penalties.mask_norm(layer).shape == ()


def test_padded_and_timed_sequences_keep_their_shapes(checked: int) -> None:
    net, kernel = NetConfig(no_hidden=4, no_blocks=1), KernelConfig(no_hidden=4)
    network = FlexNet(1, 3, 1, net=net, kernel=kernel, conv=ConvConfig(horizon="same"))
    x, times = torch.randn(2, 1, 20), torch.arange(20.0).expand(2, -1)
    assert network(x, lengths=torch.tensor([20, 11])).shape == (2, 3)
    assert network(x, times=times).shape == (2, 3)
    assert network.eval()(x).shape == Timed(network)(torch.cat((x, times[:, None]), 1)).shape


def test_a_wrong_shape_is_noticed(checked: int) -> None:
    assert checked >= 60
    with pytest.raises(jaxtyping.TypeCheckError):
        ck.PointwiseLinear(2, 3)(torch.randn(2))
    with pytest.raises(jaxtyping.TypeCheckError):
        F.conv(torch.randn(1, 2, 9), torch.randn(3, 2, 3), bias=torch.zeros(3, 1))
