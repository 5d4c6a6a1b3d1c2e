"""What was made of files is made again when they change, and only then."""

from __future__ import annotations

import os

import pytest
import torch

from datasets.files.cache import cached, fingerprint


@pytest.fixture
def count(tmp_path):
    """Makes a tensor of a file's content, and counts how often."""
    source, calls = tmp_path / "source.txt", []

    def make():
        calls.append(1)
        return {"values": torch.tensor([int(source.read_text())])}

    def value() -> tuple[int, int]:
        tensors = cached(tmp_path / "cache.pt", fingerprint([source]), make)
        return tensors["values"].item(), len(calls)

    source.write_text("7")
    return source, value


def test_a_cache_is_made_once(count, tmp_path):
    _, value = count
    assert value() == (7, 1) and value() == (7, 1)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cache.pt", "source.txt"]


@pytest.mark.parametrize("content", ["12", "8"])
def test_a_cache_does_not_outlive_what_it_was_made_of(count, content):
    source, value = count
    value()
    source.write_text(content)
    os.utime(source, ns=(0, 1 + len(content)))  # another time, and for "8" the same size
    assert value() == (int(content), 2)


def test_a_cache_of_an_earlier_version_is_made_again(count, tmp_path):
    _, value = count
    torch.save({"values": torch.tensor([3])}, tmp_path / "cache.pt")
    assert value() == (7, 1)
    kept = cached(tmp_path / "cache.pt", None, lambda: {})
    assert kept["values"].item() == 7


def test_a_folders_fingerprint_tells_what_comes_and_goes(tmp_path):
    folder = tmp_path / "folder"
    assert fingerprint([folder]) == fingerprint([folder])
    missing = fingerprint([folder])
    folder.mkdir()
    os.utime(folder, ns=(0, 0))
    empty = fingerprint([folder])
    (folder / "a").write_text("a")
    assert len({missing, empty, fingerprint([folder])}) == 3
