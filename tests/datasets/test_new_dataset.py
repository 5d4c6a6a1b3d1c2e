"""A new data set is one new file and one line: done in a copy of the project, as a user does."""

from __future__ import annotations

import json

import programs

NEW_FILE = '''
import torch

from datasets.base import Dataset, Split, Splits
from datasets.task import Task


class Mine(Dataset):
    """A rising or a falling line under noise."""

    name = "Mine"
    flags = frozenset({"sr_train", "sr_test"})

    def describe(self, request):
        return Task(self.name, 1, 2, (20,), 100)

    def splits(self, request, state):
        torch.manual_seed(0)
        targets = torch.arange(140) % 2
        slope = torch.linspace(-1, 1, 20) * (2 * targets[:, None] - 1)
        inputs = (slope + 0.1 * torch.randn(140, 20))[:, None]
        parts = inputs.split([100, 20, 20]), targets.split([100, 20, 20])
        return Splits(*(Split(x, y) for x, y in zip(*parts)))


DATASETS = (Mine(),)
'''


def test_a_new_data_set_is_one_file_and_one_line(tmp_path):
    program = programs.copy_with(tmp_path, "datasets/mine.py", NEW_FILE)

    def run(*flags: str):
        return programs.run(program, "debug=True", "device=cpu", *flags, cwd=tmp_path)

    folder = tmp_path / "run"
    flags = ["net.type=FlexTCN", "train.epochs=1", f"hydra.run.dir={folder}"]
    finished = run("dataset=Mine", *flags)
    assert finished.returncode == 0, finished.stderr
    result = json.loads((folder / "result.json").read_text())
    assert result["dataset"] == "Mine" and result["test"]["targets"] == 20

    refused = run("dataset=MNIST", "dataset_params.sr_test=2")
    assert refused.returncode == 1
    assert "sr_test=2: MNIST has no such variant; it is for Mine, sDigits" in refused.stderr
