"""Classes of one's own, by the place where they are defined."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from ckconv import KernelConfig, UsageError, by_path
from ckconv.models.build import Parts, build
from ckconv.nn import CKConv, ck

MODULE = """
import torch
from torch import nn

from ckconv.nn.ck import Generator, PointwiseLinear


class Cosines(Generator):
    def __init__(self, dim, out_channels, cfg, centres=None):
        super().__init__(dim)
        self.rates = nn.Parameter(torch.randn(cfg.no_hidden, dim))
        self.output = PointwiseLinear(cfg.no_hidden, out_channels)

    def hidden(self, positions):
        return torch.cos(self.rates @ positions)


class Mean(nn.Module):
    def __init__(self, in_channels, out_channels, dim, net, kernel, conv, mask, per_step=False):
        super().__init__()
        self.head = nn.Linear(in_channels, out_channels)

    def forward(self, x):
        return self.head(x.flatten(2).mean(2))


number = 3
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a module in the folder where the program runs."""
    (tmp_path / "my_own.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path not in ("", str(tmp_path))])
    monkeypatch.delitem(sys.modules, "my_own", raising=False)
    return "my_own"


def test_a_generator_of_ones_own(module):
    layer = CKConv(2, 3, 1, KernelConfig(type=f"{module}:Cosines", no_hidden=5))
    y = layer(torch.randn(1, 2, 9))
    assert y.shape == (1, 3, 9) and layer.generator.rates.shape == (5, 1)


def test_a_network_of_ones_own(module):
    parts = Parts()
    parts.net.type = f"{module}:Mean"
    assert build(2, 5, 2, parts)(torch.randn(4, 2, 3, 3)).shape == (4, 5)


@pytest.mark.parametrize(
    "path, said",
    [
        ("nowhere_at_all:Name", "there is no module nowhere_at_all; it is looked for in"),
        ("my_own.inside:Name", "there is no module my_own.inside"),
        ("my_own:Missing", "my_own has no Missing"),
        ("my_own:number", "inherits ckconv.nn.ck.Generator"),
        ("my_own:", "write package.module:Name"),
        ("my own:Name", "write package.module:Name"),
    ],
)
def test_what_cannot_be_found_is_said(module, path, said):
    with pytest.raises(UsageError, match=said):
        ck.build(KernelConfig(type=path), 1, 4)


def test_a_module_that_fails_shows_its_own_mistake(module, tmp_path):
    (tmp_path / "fails.py").write_text("import a_package_that_is_not_there\n")
    with pytest.raises(ModuleNotFoundError, match="a_package_that_is_not_there"):
        by_path.find("dataset", "fails:Name")
