"""The networks that come with the library, found by their names."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import yaml

import ckconv
from ckconv import UsageError
from ckconv.findings import find, names

WEIGHTS = Path(__file__).resolve().parents[2] / "weights"


@pytest.mark.parametrize("name", names())
def test_each_is_small_and_has_the_record_of_its_run(name):
    folder = WEIGHTS / name
    record = json.loads((folder / "result.json").read_text())
    assert record["status"] == "finished" and not record["dirty"]
    assert (folder / "best.pt").stat().st_size < 1e6
    trained = ckconv.load(name)
    assert sum(p.numel() for p in trained.parameters()) == record["parameters"]
    assert yaml.safe_load((folder / "config.yaml").read_text())["seed"] == record["seed"]
    accuracy = f"{100 * record['test']['accuracy']:.2f}"
    row = next(x for x in (WEIGHTS / "README.md").read_text().splitlines() if f"`{name}`" in x)
    assert accuracy in row and record["commit"][:7] in row


def test_they_are_what_the_readme_says(tmp_path, monkeypatch):
    assert names() == ["chartrajectories", "digits", "mnist", "sdigits"]
    (tmp_path / "digits").mkdir()
    monkeypatch.chdir(tmp_path)
    assert find("digits") == Path("digits")  # what lies here comes first
    with pytest.raises(UsageError, match="or one of chartrajectories, digits"):
        find("digit")


def test_digits_reads_digits():
    """On the samples that its run tested on."""
    from cfg.schema import Config

    from datasets import build_loaders

    _, loaders = build_loaders(Config())
    network = ckconv.load("digits").network
    with torch.no_grad():
        right = sum(int((network(x).argmax(1) == y).sum()) for x, y in loaders.test.batches())
    record = json.loads((WEIGHTS / "digits" / "result.json").read_text())
    assert right / loaders.test.num_samples == pytest.approx(record["test"]["accuracy"])


def test_the_hubs_own_methods(tmp_path):
    pytest.importorskip("huggingface_hub")
    pytest.importorskip("safetensors")
    from ckconv.hub import HubTrained

    trained = ckconv.load("digits")
    HubTrained.of(trained).save_pretrained(tmp_path / "saved")
    x = 16 * torch.rand(3, 1, 8, 8)
    for again in (HubTrained.from_pretrained(tmp_path / "saved"), ckconv.load(tmp_path / "saved")):
        assert torch.equal(again(x), trained(x)) and again.class_names == trained.class_names
