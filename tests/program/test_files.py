"""Files are whole or not there."""

from __future__ import annotations

import csv
import json
import os

import pytest
import torch
from matplotlib.figure import Figure

from ckconv import UsageError
from program import files


def test_what_is_written_can_be_read(tmp_path):
    files.write(tmp_path / "a.txt", "α\n")
    files.write_json(tmp_path / "b.json", {"a": [1, None]})
    files.write_csv(tmp_path / "c.csv", [{"a": 1}, {"a": 2, "b": 3}])
    files.write_tensors(tmp_path / "d.pt", {"x": torch.ones(2)})
    figure = Figure(figsize=(1, 1))
    figure.subplots().plot([0, 1])
    files.write_figure(tmp_path / "e.png", figure, dpi=50)
    assert (tmp_path / "a.txt").read_text(encoding="utf-8") == "α\n"
    assert json.loads((tmp_path / "b.json").read_text()) == {"a": [1, None]}
    with open(tmp_path / "c.csv") as file:
        assert list(csv.DictReader(file)) == [{"a": "1", "b": ""}, {"a": "2", "b": "3"}]
    assert torch.equal(torch.load(tmp_path / "d.pt")["x"], torch.ones(2))
    assert (tmp_path / "e.png").read_bytes().startswith(b"\x89PNG")
    assert len(list(tmp_path.iterdir())) == 5


def test_two_processes_do_not_share_a_temporary_file(tmp_path):
    with files.complete(tmp_path / "x.png") as temporary:
        assert str(os.getpid()) in temporary.name and temporary.suffix == ".png"
        temporary.write_bytes(b"x")


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_write_that_is_broken_off_leaves_the_old_file_alone(tmp_path, error):
    path = tmp_path / "x.txt"
    files.write(path, "old")
    with pytest.raises(type(error)) as raised, files.complete(path) as temporary:
        temporary.write_text("ne")
        raise error
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]
    if isinstance(error, OSError):
        assert (raised.value.errno, raised.value.filename) == (28, str(path))


@pytest.mark.parametrize(
    ("name", "start"), [("a.png", b"\x89PNG"), ("a.pdf", b"%PDF"), ("a.svg", b"<?xml")]
)
def test_a_picture_is_of_the_kind_that_its_name_says(name, start, tmp_path):
    files.write_figure(tmp_path / name, Figure(figsize=(1, 1)), dpi=50)
    assert (tmp_path / name).read_bytes().startswith(start)


def test_a_picture_of_another_kind_is_refused(tmp_path):
    with pytest.raises(UsageError, match=r"a.bmp: pictures are written as .png, .pdf, .svg"):
        files.write_figure(tmp_path / "a.bmp", Figure(), dpi=50)
