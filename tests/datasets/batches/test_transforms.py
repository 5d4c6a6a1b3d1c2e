"""Each stage by its values."""

from __future__ import annotations

import pytest
import torch
from torchvision.transforms import Normalize

from datasets.batches.augmentations import FlipCrop
from datasets.batches.transforms import (
    Draw,
    EveryNth,
    Normalise,
    ObservationMask,
    OneHot,
    Permute,
    Pipeline,
    RowsThenNoise,
)


def draw(samples: int, seed: int = 0) -> Draw:
    return Draw(torch.Generator().manual_seed(seed), samples, slice(None))


def test_normalise_is_torchvisions_to_the_bit():
    mean, std = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)
    x = torch.randint(0, 256, (5, 3, 7, 6), dtype=torch.uint8)
    expected = Normalize(mean, std)(x.float().div(255))
    assert torch.equal(Normalise(mean, std)(x, draw(5)), expected)


def test_normalise_leaves_stored_floats_alone():
    x = torch.full((1, 1, 2, 2), 8.0)
    assert Normalise((0.0,), (1.0,), 16.0)(x, draw(1)).unique().tolist() == [0.5]
    assert x.unique().tolist() == [8.0]


def test_rows_then_noise():
    x = torch.arange(2 * 3 * 4 * 5.0).view(2, 3, 4, 5)
    noise = torch.rand(15, 6)
    out = RowsThenNoise(noise)(x, draw(2))
    assert out.shape == (2, 15, 10)
    for step in range(4):
        for channel in range(15):
            assert out[1, channel, step] == x[1, channel // 5, step, channel % 5]
    assert torch.equal(out[:, :, 4:], noise.expand(2, -1, -1))


def test_permute_every_nth_one_hot():
    x = torch.arange(10.0).view(1, 1, 10)
    order = torch.tensor([9, 8, 7, 6, 5, 4, 3, 2, 0, 1])
    out = Pipeline(Permute(order)).then(EveryNth(4))(x, draw(1))
    assert out.flatten().tolist() == [9, 5, 0]
    symbols = torch.tensor([[0, 2, 1]], dtype=torch.uint8)
    expected = [[[1, 0, 0], [0, 0, 1], [0, 1, 0]]]
    assert OneHot(3)(symbols, draw(1)).tolist() == expected


def test_observation_mask():
    x = torch.tensor([[[1.0, torch.nan, 3.0], [4.0, torch.nan, 0.0]]])
    out = ObservationMask()(x, draw(1))
    assert out.tolist() == [[[1, 0, 3], [4, 0, 0], [1, 0, 1]]]


def test_draws_do_not_depend_on_how_many_processes_share_them():
    whole = draw(10).uniform(2)
    part = Draw(torch.Generator().manual_seed(0), 10, slice(1, None, 3)).uniform(2)
    assert torch.equal(part, whole[1::3])


@pytest.mark.gpu
def test_stages_run_on_the_gpu():
    stages = Pipeline(FlipCrop(4), Normalise((0.5,) * 3, (0.25,) * 3)).cuda()
    x = torch.randint(0, 256, (16, 3, 32, 32), dtype=torch.uint8, device="cuda")
    out = stages(x, Draw(torch.Generator("cuda").manual_seed(0), 16, slice(None)))
    assert out.device.type == "cuda" and out.shape == x.shape
