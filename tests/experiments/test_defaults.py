"""The table of the default flags on small data: what is trained on, and what is shown."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from experiments import defaults


@pytest.mark.parametrize("size", [(8, 8), (64,), (21, 13)])
def test_the_samples_are_of_the_named_size_and_classes(size, tmp_path):
    data = replace(defaults.DATA[0], size=size, samples=50, classes=4)
    data.write(Path(), tmp_path / "x.npz")
    arrays = np.load(tmp_path / "x.npz")
    assert arrays["x"].shape == (50, 1, *size) and set(arrays["y"]) == {0, 1, 2, 3}
    assert len(arrays["x_test"]) == len(arrays["y_test"]) > 500


def test_a_cell_is_the_mean_and_deviation_over_seeds():
    name = defaults.DATA[0].name
    rows = [(name, "3 taps", str(seed), found) for seed, found in enumerate(("80.0", "82.0"))]
    text = defaults.table([*rows, (name, "5 taps", "0", "90.0")])
    assert "| 81.0 ± 1.4 | 90.0 (1 seed) |  |  |" in text
    assert len(text.splitlines()) == 2 + len(defaults.DATA)
