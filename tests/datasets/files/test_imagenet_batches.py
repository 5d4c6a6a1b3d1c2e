"""The published batch files: whatever wrote them; damaged and harmful ones are refused."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from small_imagenet import write_batches

from ckconv.errors import UsageError
from datasets.files.imagenet_batches import read_batch


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_pickles_of_all_protocols(tmp_path, protocol):
    write_batches(tmp_path / "x", protocol=protocol)
    pixels, labels = read_batch(tmp_path / "x" / "val_data", 8)
    assert pixels.shape == (4, 3, 8, 8) and labels.tolist() == [0, 1, 0, 1]


class Harm:
    def __reduce__(self):
        return (print, ("harm was done",))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ({"data": Harm(), "labels": [1]}, "asks for builtins.print"),
        ({"data": np.zeros((2, 192), np.uint8)}, "is damaged"),
        ({"data": np.zeros((2, 192), np.uint8), "labels": [1]}, "a label from 1 to 1000 for each"),
        ({"data": np.zeros((2, 192), np.uint8), "labels": [0, 1]}, "a label from 1 to 1000"),
        ({"data": np.zeros((2, 192), np.uint8), "labels": [1, 1001]}, "a label from 1 to 1000"),
        ({"data": np.zeros((2, 768), np.uint8), "labels": [1, 2]}, "images of 8 x 8 pixels"),
        ({"data": [[1, 2]], "labels": [1]}, "images of 8 x 8 pixels"),
    ],
)
def test_batch_files_that_are_refused(tmp_path, content, reason, capsys):
    path = tmp_path / "val_data"
    path.write_bytes(pickle.dumps(content))
    with pytest.raises(UsageError, match=reason) as raised:
        read_batch(path, 8)
    assert str(path) in str(raised.value)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(UsageError, match="val_data: "):
        read_batch(path, 8)
    assert "harm" not in capsys.readouterr().out
