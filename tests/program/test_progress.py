"""What is shown while a program works."""

from __future__ import annotations

import io
import sys

import pytest

from program import progress


class Clock:
    """A clock that every look moves on."""

    def __init__(self, step: float) -> None:
        self.now, self.step = 0.0, step

    def monotonic(self) -> float:
        self.now += self.step
        return self.now


def test_without_a_terminal_a_line_comes_every_so_often(monkeypatch, capsys):
    monkeypatch.setattr(progress, "time", Clock(step=10.0))
    assert list(progress.shown("abcdefg", "step", total=9, done=2)) == list("abcdefg")
    assert capsys.readouterr().out.splitlines() == [
        "step, 5 of 9, 40 s left",
        "step, 8 of 9, 10 s left",
    ]


def test_a_quick_loop_prints_nothing(capsys):
    assert list(progress.shown("abc", "step", total=3)) == list("abc")
    with progress.bar("epochs", 3, 0) as bar:
        bar.update()
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("is_main", [True, False])
def test_on_a_terminal_there_are_bars_of_the_first_process(is_main, monkeypatch):
    terminal = io.StringIO()
    monkeypatch.setattr(terminal, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr(progress.distributed, "is_main", lambda: is_main)
    with progress.bar("epochs", 2, 0):
        list(progress.shown("abc", "validation batch", total=3))
    for text in ("epochs: ", "validation batch: ", "0/3"):
        assert (text in terminal.getvalue()) == is_main


def test_a_line_is_told_at_once(capsys):
    progress.say("epoch 1/2")
    assert capsys.readouterr().out == "epoch 1/2\n"
