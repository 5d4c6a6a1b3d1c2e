"""A new generator is one new file and one line: done in a copy of the project, as a user does."""

from __future__ import annotations

import json

import programs
import torch

NEW_FILE = '''
import math

import torch
from torch import nn

from ckconv.errors import UsageError
from ckconv.nn.ck.base import Generator, PointwiseLinear


class Waves(Generator):
    """A mix of sines."""

    sampled_together = True
    is_bounded = True
    learning_rate_groups = {"frequency": "omega_0"}

    def __init__(self, dim, out_channels, cfg, centres=None):
        super().__init__(dim)
        self.frequency = nn.Parameter(cfg.omega_0 / 6 * torch.randn(cfg.no_hidden, dim))
        self.output = PointwiseLinear(cfg.no_hidden, out_channels)

    @classmethod
    def check(cls, cfg):
        if cfg.no_hidden % 2:
            raise UsageError(f"kernel.no_hidden={cfg.no_hidden}: give an even number of waves")

    @classmethod
    def highest_frequencies(cls, generators, gauss_stddevs):
        largest = torch.stack([g.frequency.abs().amax() for g in generators])
        return largest[:, None] / (2 * math.pi)

    def hidden(self, positions):
        return torch.sin(self.frequency @ positions)


GENERATORS = {"Waves": Waves}
'''


def test_a_new_generator_is_one_file_and_one_line(tmp_path):
    program = programs.copy_with(tmp_path, "ckconv/nn/ck/waves.py", NEW_FILE)

    def run(*flags: str):
        return programs.run(program, "debug=True", "device=cpu", *flags, cwd=tmp_path)

    folder = tmp_path / "run"
    small = ["net.no_hidden=4", "net.no_blocks=1", "train.epochs=1", f"hydra.run.dir={folder}"]
    rates = ["train.omega_0_lr_factor=0.5", "kernel.regularize=True"]
    finished = run("kernel.type=Waves", *small, *rates)
    assert finished.returncode == 0, finished.stderr
    result = json.loads((folder / "result.json").read_text())
    assert result["dataset"] == "Digits" and result["test"]["targets"] > 0
    last = torch.load(folder / "last.pt", weights_only=True)
    assert any(name.endswith("generator.frequency") for name in last["model"])
    rates = {group["name"]: group["initial_lr"] for group in last["optimizer"]["param_groups"]}
    assert rates["omega_0"] == 0.5 * rates["rest"]

    refused = run("kernel.type=Waves", "kernel.no_hidden=7")
    assert refused.returncode == 1 and "give an even number of waves" in refused.stderr
    refused = run("kernel.type=Wave")
    assert refused.returncode == 1 and "did you mean Waves?" in refused.stderr
