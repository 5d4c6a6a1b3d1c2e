"""What run_crossres.py settles: the kernels' size at each stage."""

from __future__ import annotations

import pytest

from program.command_line import compose
from training.crossres.check import settle

ACROSS = ("cross_res.source_res=12", "cross_res.target_res=16")


@pytest.mark.parametrize(
    ("typed", "horizon"),
    [
        ((), "13"),
        (("conv.horizon=33",), "13"),
        (("conv.type=CKConv", "conv.horizon=full"), "13"),
        (("conv.type=Conv", "conv.horizon=3"), "3"),
    ],
)
def test_kernels_are_one_sample_larger_than_the_source_images(typed, horizon, capsys):
    cfg = compose(["dataset=CIFAR10", *ACROSS, *typed, "kernel.regularize_params.res=99"])
    settled = settle(cfg)
    assert settled.conv.horizon == horizon and settled.kernel.regularize_params.res == 0
    assert cfg.kernel.regularize_params.res == 99  # what was typed stays as it is
    said = capsys.readouterr().out
    changed = bool(typed) and horizon == "13"
    assert ("one sample larger" in said) == changed and (typed[-1] in said if changed else True)
