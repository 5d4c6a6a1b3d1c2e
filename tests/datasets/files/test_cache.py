"""What was made of files is made again when they change, and only then."""

from __future__ import annotations

import os

import pytest
import torch

from ckconv.errors import UsageError
from datasets.files.cache import Held, cached, check_held, fingerprint


def check(tensors):
    check_held(tensors, values=Held(torch.int64, (1,), 0, 99))


@pytest.fixture
def count(tmp_path):
    """Makes a tensor of a file's content, and counts how often."""
    source, calls = tmp_path / "source.txt", []

    def make():
        calls.append(1)
        return {"values": torch.tensor([int(source.read_text())])}

    def value() -> tuple[int, int]:
        tensors = cached(tmp_path / "cache.pt", fingerprint([source]), make, check)
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
    kept = cached(tmp_path / "cache.pt", None, lambda: {}, check)
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


@pytest.mark.parametrize(
    "content, reason",
    [
        ({}, "values is not a tensor"),
        ([1, 2], "it holds a list"),
        ({"values": "7"}, "values is not a tensor"),
        ({"values": torch.tensor([7.0])}, "values is not a tensor of torch.int64"),
        ({"values": torch.tensor([7, 7])}, r"values has the shape \(2,\)"),
        ({"values": torch.tensor(7)}, r"values has the shape \(\)"),
        ({"values": torch.tensor([-1])}, "values has values from -1"),
        ({"values": torch.tensor([100])}, "values has values from 100"),
    ],
)
def test_content_that_does_not_fit_is_refused(count, tmp_path, content, reason):
    """Also where it says of what it was made."""
    source, value = count
    if isinstance(content, dict):
        content["made_of"] = fingerprint([source])
    torch.save(content, tmp_path / "cache.pt")
    with pytest.raises(UsageError, match=rf"cache\.pt is damaged \(.*{reason}.*remove it"):
        value()


def test_lengths_are_shared_and_numbers_finite():
    series, targets = Held(torch.float32, ("n", 2)), Held(torch.int64, ("n",))
    good = {"series": torch.ones(3, 2), "targets": torch.zeros(3, dtype=torch.int64)}
    check_held(good, series=series, targets=targets)
    with pytest.raises(ValueError, match="targets has the shape"):
        check_held(good | {"targets": good["targets"][:2]}, series=series, targets=targets)
    for odd in (float("nan"), float("inf")):
        with pytest.raises(ValueError, match="series has values"):
            check_held({"series": torch.tensor([[odd, 1.0]])}, series=series)


def test_every_flipped_bit_of_a_cache_is_noticed(count, tmp_path):
    """Or the cache is made again, or the values are still the right ones."""
    source, value = count
    value()
    path = tmp_path / "cache.pt"
    whole, noticed = path.read_bytes(), 0
    for place in range(0, len(whole), 7):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :])
        try:
            assert value()[0] == 7
        except UsageError as error:
            assert "cache.pt is damaged" in str(error)
            noticed += 1
    assert noticed > 20


def test_what_a_kill_left_of_a_cache_is_removed(count, tmp_path):
    _, value = count
    left = (".cache.17-0a1b2c3d.part.pt", "cache.17.part", "cache.17.labels.part.npy")
    others = (".other.17-0a1b2c3d.part.pt", "cache.part", "cache.npy")
    for name in (*left, *others):
        (tmp_path / name).write_text("")
    value()
    assert {path.name for path in tmp_path.iterdir()} == {"cache.pt", "source.txt", *others}
