"""Rows of text as tables."""

from __future__ import annotations

from program.words.tables import markdown, padded

HEAD, ROWS = ("layer", "ms"), [("a", "10.5"), ("longer one", "")]


def test_columns_are_as_wide_as_their_widest_text():
    assert padded(HEAD, ROWS).splitlines() == ["layer         ms", "a           10.5", "longer one"]
    left = padded(HEAD, ROWS, str.ljust, rule="-").splitlines()
    assert left == ["layer       ms", "----------  ----", "a           10.5", "longer one"]


def test_markdown():
    assert markdown(HEAD, ROWS) == "| layer | ms |\n| --- | ---: |\n| a | 10.5 |\n| longer one | |"
