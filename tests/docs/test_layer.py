"""The README's section on the layer, and the page about it, do what they say as they stand."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import ckconv
from ckconv.nn import MASKS, ck

PROJECT = Path(__file__).resolve().parents[2]
SECTION = (PROJECT / "README.md").read_text().split("\n## The layer\n")[1].split("\n## ")[0]
PAGE = (PROJECT / "docs" / "layer.md").read_text()
BLOCK = re.compile(r"^```python\n(.*?)^```", re.DOTALL | re.MULTILINE)
ROW = re.compile(r"^\| (`.*?) \| (.*?) \|(.*?)\|$", re.MULTILINE)


def typed(text: str) -> Iterator[dict[str, object]]:
    """Type a page's scripts line by line into one process; after each, its names.

    A comment that begins with a size is what the line gives; every page has such lines.
    """
    names: dict[str, object] = {}
    said = 0
    for script in BLOCK.findall(text):
        lines = script.splitlines()
        for statement in ast.parse(script).body:
            comment = lines[statement.end_lineno - 1].partition("  # ")[2].partition(":")[0]
            code = compile(ast.Module([statement], []), "printed", "exec")
            exec(code, names)
            if comment.startswith("("):
                value = statement.targets[0] if isinstance(statement, ast.Assign) else statement
                found = eval(ast.unparse(value), names)
                found = found.shape if isinstance(found, torch.Tensor) else found
                assert found == ast.literal_eval(comment), lines[statement.end_lineno - 1]
                said += 1
        yield names
    assert said > 1


def counts(printed: str) -> list[str]:
    """The numbers of parameters that `convert` told, in millions."""
    told = re.search(r"^parameters +([\d,]+) -> ([\d,]+)$", printed, re.MULTILINE).groups()
    return [f"{int(count.replace(',', '')) / 1e6:.1f}" for count in told]


def test_what_is_printed_runs(monkeypatch, capsys):
    pytest.importorskip("torchvision")
    monkeypatch.setattr(torch.onnx, "export", lambda model, given, path, dynamo: model(*given))
    *_, names = typed(SECTION)
    before, after = counts(capsys.readouterr().out)
    assert f"(ResNet-18: {before} to {after} million;" in SECTION
    model, frozen, x = names["model"].eval(), names["frozen"], torch.randn(1, 3, 64, 64)
    torch.testing.assert_close(frozen(x), model(x), rtol=1e-4, atol=1e-5)
    names["loss"].backward()
    names["optimizer"].step()


@pytest.mark.slow
def test_what_is_printed_runs_in_onnx_runtime(monkeypatch, tmp_path):
    for package in ("torchvision", "onnx", "onnxscript"):
        pytest.importorskip(package)
    onnxruntime = pytest.importorskip("onnxruntime")
    monkeypatch.chdir(tmp_path)
    *_, names = typed(SECTION)
    session = onnxruntime.InferenceSession("resnet18.onnx")
    x = torch.randn(1, 3, 64, 64)
    (y,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
    torch.testing.assert_close(torch.tensor(y), names["frozen"](x), rtol=1e-4, atol=1e-5)
    told: list[str] = []
    ckconv.convert(names["torchvision"].models.resnet18(), only="layer*", say=told.append)
    assert f"with dense FlexConvs {counts(told[0])[1]})" in SECTION


def test_the_page_runs():
    assert len(list(typed(PAGE))) == 1


KINDS = [ckconv.FlexConv2d, ckconv.CKConv2d, ckconv.SepFlexConv2d]


@pytest.mark.parametrize("kind", KINDS)
def test_the_table_has_every_argument(kind):
    named = [name for row, _, _ in ROW.findall(SECTION) for name in re.findall(r"`(\w+)=?`", row)]
    assert sorted(named) == sorted(list(inspect.signature(kind).parameters)[2:-1])


def test_the_table_has_every_generator_and_mask():
    rows = {name: (takes, usual) for name, takes, usual in ROW.findall(SECTION)}
    names = re.search(r"a name \((.*?)\)", rows["`generator=`"][0])[1]
    assert set(names.split(", ")) == set(ck.GENERATORS)
    takes, usual = rows["`mask=`"]
    assert all(f"`{mask}`" in takes for mask in MASKS)
    assert [kind.usual_mask for kind in KINDS] == ["gaussian", None, "fixed_gaussian"]
    assert usual.strip() == "`gaussian`; CKConv None, SepFlexConv `fixed_gaussian`"
