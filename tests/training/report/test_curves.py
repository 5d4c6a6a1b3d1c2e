"""Pictures of a training: what an epoch's row says of the layers, curves, sizes, how often."""

from __future__ import annotations

import csv
import sys

import numpy as np
import pytest
import torch
from matplotlib.image import imread
from torch import nn

from ckconv import ConvConfig, MaskConfig, UsageError
from ckconv.nn import CKConv, FlexConv, NJet
from training.report import curves, live
from training.report.layers import layer_values
from training.report.live import LivePictures


def row(epoch: int, **more: float) -> dict[str, float]:
    return {"epoch": epoch, "lr": 0.1 / epoch, "train_loss": 2 / epoch, "seconds": 1.0, **more}


def sized(epoch: int, size: int) -> dict[str, float]:
    sizes = {"kernel/stem/size_0": size, "kernel/stem/size_1": 4 * size, "mask/stem/sigma_0": 0.1}
    return row(epoch, train_accuracy=0.5, validation_accuracy=0.25 * epoch, **sizes)


def test_a_row_tells_size_mean_and_sigma_of_every_layer():
    model = nn.Sequential(
        FlexConv(1, 2, conv=ConvConfig(horizon="15"), mask=MaskConfig(init_value=0.3)),
        CKConv(2, 2, conv=ConvConfig(horizon="5")),
        nn.Conv2d(2, 2, 3),
        NJet(2, 1),
    )
    assert model[0].cropped_size() == (9, 9)
    with torch.no_grad():
        model[0].mask.sigma[1], model[0].mask.mean[0] = 0.1, 0.25
    assert layer_values(model) == pytest.approx(
        {
            "kernel/0/size_0": 13,
            "kernel/0/size_1": 3,
            "kernel/1/size_0": 5,
            "kernel/1/size_1": 5,
            "kernel/3/size_0": 7,
            "kernel/3/size_1": 7,
            "mask/0/mean_0": 0.25,
            "mask/0/mean_1": 0.0,
            "mask/0/sigma_0": 0.3,
            "mask/0/sigma_1": 0.1,
        }
    )


def test_sizes_begin_where_they_were_recorded():
    history = [row(1), sized(2, 3), sized(3, 5)]  # the first epoch by an older version
    epochs, sizes = curves.sizes_over_epochs(history)["stem"]
    assert epochs.tolist() == [2, 3] and sizes.tolist() == [[3, 12], [5, 20]]


@pytest.mark.parametrize("save", [curves.save_curves, curves.save_sizes])
@pytest.mark.parametrize("epochs", [1, 3])
def test_pictures_are_drawn_and_others_left(tmp_path, save, epochs):
    history = [sized(n + 1, 3 + 2 * n) for n in range(epochs)]
    save(history, tmp_path / "picture.png", "a title")
    assert np.unique(imread(tmp_path / "picture.png").reshape(-1, 4), axis=0).shape[0] > 20
    assert [path.name for path in tmp_path.iterdir()] == ["picture.png"]


def test_without_sizes_or_epochs_there_is_no_picture(tmp_path):
    curves.save_sizes([row(1)], tmp_path / "sizes.png")
    curves.save_curves([], tmp_path / "curves.png")
    assert not list(tmp_path.iterdir())
    curves.save_curves([row(1, validation_mse=2.0)], tmp_path / "curves.svg")
    assert "squared error" in (tmp_path / "curves.svg").read_text()


def test_a_table_is_read_back(tmp_path):
    path = tmp_path / "metrics.csv"
    history = [row(1), sized(2, 3)]
    with open(path, "w", newline="") as file:
        writer = csv.DictWriter(file, list(history[1] | history[0]))
        writer.writeheader()
        writer.writerows(history)
    assert curves.read_history(path) == history
    path.write_text("a,b\n1,2\n")
    with pytest.raises(UsageError, match=r"metrics\.csv: is no table of epochs"):
        curves.read_history(path)


class Clock:
    """A time that goes on only when it is told to."""

    now = 0.0

    def perf_counter(self) -> float:
        return self.now


@pytest.fixture
def drawn(monkeypatch):
    """The clock, and how many epochs each picture showed; drawing one takes a second."""
    clock, drawn = Clock(), []

    def save(history, path, title):
        drawn.append(len(history))
        clock.now += 1.0

    monkeypatch.setattr(live, "time", clock)
    monkeypatch.setattr(live, "save_curves", save)
    monkeypatch.setattr(live, "save_sizes", lambda *_: None)
    return clock, drawn


def test_long_epochs_are_drawn_one_by_one(tmp_path, drawn):
    clock, shown = drawn
    pictures = LivePictures(tmp_path)
    for epochs in range(1, 5):
        clock.now += 60
        pictures.show([row(n + 1) for n in range(epochs)])
    pictures.finish()
    assert shown == [1, 2, 3, 4]


def test_short_epochs_cost_a_small_part_and_the_last_is_there(tmp_path, drawn):
    clock, shown = drawn
    pictures = LivePictures(tmp_path)
    for epochs in range(1, 100):
        clock.now += 1
        pictures.show([row(n + 1) for n in range(epochs)])
    assert shown[0] == 1 and len(shown) <= 2 + live.SHARE * clock.now
    pictures.finish()
    pictures.finish()
    assert shown[-1] == 99 and shown.count(99) == 1


def test_without_matplotlib_one_line_says_so(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    pictures = LivePictures(tmp_path)
    for epochs in (1, 2):
        pictures.show([row(n + 1) for n in range(epochs)])
        pictures.finish()
    said = capsys.readouterr().out
    assert said.count("\n") == 1 and said.startswith("curves.png and sizes.png: not drawn (")
    assert not list(tmp_path.iterdir())
