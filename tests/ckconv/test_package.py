"""What `import ckconv` gives, and what an installation puts beside other packages."""

from __future__ import annotations

import ast
import builtins
import os
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import ckconv
import models
from ckconv.models import FlexNet, FlexTCN

PROJECT = Path(__file__).resolve().parents[2]
PACKAGES = [p.name for p in pkgutil.walk_packages(ckconv.__path__, "ckconv.") if p.ispkg]


def test_the_networks_are_the_librarys():
    assert models.FlexNet is FlexNet and models.FlexTCN is FlexTCN


@pytest.mark.parametrize("name", ["errors", "penalties", "antialiasing", "published", "models"])
def test_parts_are_reachable(name):
    assert getattr(ckconv, name) is sys.modules[f"ckconv.{name}"]
    assert name in ckconv.__all__


@pytest.mark.parametrize("package", ["ckconv", *PACKAGES])
def test_a_star_takes_no_name_from_torch(package):
    """`from torch import nn`, and then `from ckconv import *`, leave `nn` what it was."""
    names = {"nn": torch.nn, "F": torch.nn.functional, "torch": torch, "Tensor": torch.Tensor}
    found: dict[str, object] = {}
    exec(f"from {package} import *", found)
    assert {name: found[name] for name in found.keys() & names} == {}
    assert not found.keys() & set(dir(builtins)) - {"__builtins__"}
    assert ckconv.nn.FlexConv is ckconv.FlexConv


def test_the_version_stands_once():
    assert re.fullmatch(r"\d+\.\d+\.\d+", ckconv.__version__)
    text = (PROJECT / "pyproject.toml").read_text()
    assert ckconv.__version__ not in text and 'attr = "ckconv.__version__"' in text


def test_an_installation_holds_the_library_and_nothing_else():
    setuptools = pytest.importorskip("setuptools")
    found = setuptools.find_packages(str(PROJECT), include=["ckconv*"])
    assert {"ckconv", "ckconv.models", "ckconv.nn.ck", "ckconv.antialiasing"} <= set(found)
    assert {name.partition(".")[0] for name in found} == {"ckconv"}


def imports(path: Path) -> set[str]:
    """The top-level packages that a file imports anywhere."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add((node.module or "").partition(".")[0])
    return names


def test_the_library_never_looks_up():
    allowed = {*sys.stdlib_module_names, "ckconv", "torch", "numpy", "scipy", "matplotlib"}
    allowed.add("jaxtyping")  # for annotations, which nobody reads at run time: see below
    hub = {"safetensors", "huggingface_hub"}  # the extra `hub`
    optional = {name: hub for name in ("trained.py", "hub.py", "findings.py")}
    for path in (PROJECT / "ckconv").rglob("*.py"):
        assert imports(path) <= allowed | optional.get(path.name, set()), path


def test_the_extra_for_the_hub_is_imported_where_it_is_asked_for_alone():
    script = "import sys, ckconv; print({'safetensors', 'huggingface_hub'} & set(sys.modules))"
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=60)
    assert done.stdout == "set()\n", done.stderr


NAMELESS = """
import pwd, sys

def unknown(number):
    raise KeyError(f"uid not found: {number}")

pwd.getpwuid = unknown
import torch, ckconv
layer = ckconv.FlexConv2d(1, 1, 3)
layer(torch.ones(1, 1, 4, 4)).sum().backward()
print("torch._dynamo" in sys.modules)
"""


def test_a_user_without_a_name_can_use_a_layer():
    """PyTorch's compiler asks for it, and is loaded where something is compiled alone."""
    names = ("HOME", "LOGNAME", "USER", "LNAME", "USERNAME")
    environment = {name: value for name, value in os.environ.items() if name not in names}
    command = [sys.executable, "-c", NAMELESS]
    done = subprocess.run(command, cwd=PROJECT, env=environment, capture_output=True, text=True)
    assert done.stdout.strip() == "False", done.stderr


def test_shapes_in_annotations_cost_no_package():
    script = "import sys, ckconv.models; print({'jaxtyping', 'beartype'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout.strip() == "set()", done.stderr


def test_the_flags_know_the_librarys_config_alone():
    for path in (PROJECT / "cfg").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module.startswith("ckconv"):
                assert node.module == "ckconv.config", path
