"""Each stage by its values."""

from __future__ import annotations

import pytest
import torch
from torchvision.transforms import InterpolationMode, Normalize
from torchvision.transforms.functional import rotate

from datasets.batches.transforms import (
    DigitDistortion,
    Draw,
    EveryNth,
    FlipCrop,
    Normalise,
    ObservationMask,
    OneHot,
    Permute,
    Pipeline,
    RowsThenNoise,
)


def draw(samples: int, seed: int = 0) -> Draw:
    return Draw(torch.Generator().manual_seed(seed), samples, slice(None))


def test_flip_crop_gives_all_crops_and_flips_equally_often():
    padding, samples = 2, 50 * 400
    image = torch.arange(1, 3 * 3 * 4 + 1, dtype=torch.uint8).view(3, 3, 4)
    padded = torch.nn.functional.pad(image, (padding,) * 4)
    out = FlipCrop(padding)(image.expand(samples, -1, -1, -1), draw(samples))
    assert out.dtype == torch.uint8 and out.shape == (samples, 3, 3, 4)
    counted = 0
    for flipped in (False, True):
        for top in range(2 * padding + 1):
            for left in range(2 * padding + 1):
                # torchvision crops the padded image, then flips what it cropped
                crop = padded[:, top : top + 3, left : left + 4]
                crop = crop.flip(2) if flipped else crop
                count = int((out == crop).flatten(1).all(1).sum())
                assert 300 < count < 500  # 400 expected, standard deviation 20
                counted += count
    assert counted == samples


def test_flip_crop_treats_each_image_of_its_own():
    images = torch.randint(1, 255, (8, 3, 6, 6), dtype=torch.uint8)
    out = FlipCrop(0)(images, draw(8, seed=1))
    flipped = [torch.equal(o, i.flip(2)) for o, i in zip(out, images)]
    kept = [torch.equal(o, i) for o, i in zip(out, images)]
    assert all(f != k for f, k in zip(flipped, kept)) and any(flipped) and any(kept)


def test_normalise_is_torchvisions_to_the_bit():
    mean, std = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)
    x = torch.randint(0, 256, (5, 3, 7, 6), dtype=torch.uint8)
    expected = Normalize(mean, std)(x.float().div(255))
    assert torch.equal(Normalise(mean, std)(x, draw(5)), expected)


def test_normalise_leaves_stored_floats_alone():
    x = torch.full((1, 1, 2, 2), 8.0)
    assert Normalise((0.0,), (1.0,), 16.0)(x, draw(1)).unique().tolist() == [0.5]
    assert x.unique().tolist() == [8.0]


def test_digit_distortion_without_any_is_the_identity():
    x = torch.randint(0, 256, (4, 1, 28, 28), dtype=torch.uint8)
    out = DigitDistortion(degrees=0, shift=0, scale=0, erase=0)(x, draw(4))
    torch.testing.assert_close(out, x.float(), atol=1e-3, rtol=0)


def test_digit_distortion_turns_by_up_to_its_degrees():
    x = torch.zeros(1, 1, 28, 28)
    x[:, :, 4:24, 13:15] = 255
    stage = DigitDistortion(degrees=10, shift=0, scale=0, erase=0)
    turned = stage(x.expand(64, -1, -1, -1), draw(64))
    angles = 10 * (2 * draw(64).uniform(4)[:, 0] - 1)
    assert angles.min() < -9 and angles.max() > 9
    for image, angle in zip(turned, angles):
        expected = rotate(x[0], float(angle), interpolation=InterpolationMode.BILINEAR)
        assert (image - expected).abs().max() < 0.01


def test_digit_distortion_moves_and_scales_within_its_bounds():
    x = torch.zeros(1, 1, 40, 40)
    x[:, :, 15:25, 15:25] = 1
    stage = DigitDistortion(degrees=0, shift=0.1, scale=0.1, erase=0)
    out = stage(x.expand(256, -1, -1, -1), draw(256))[:, 0]
    rows = (out.sum(2) * torch.arange(40)).sum(1) / out.sum((1, 2)) - 19.5
    assert 3.3 < rows.abs().max() < 4.5  # a tenth of 40, times the scale
    area = out.sum((1, 2)) / 100
    assert 0.78 < area.min() < 0.86 and 1.16 < area.max() < 1.24


def test_digit_distortion_erases_half_of_the_time_and_its_area():
    x = torch.ones(2000, 1, 28, 28)
    out = DigitDistortion(degrees=0, shift=0, scale=0, erase=0.5)(x, draw(2000))
    erased = (out < 0.5).sum((1, 2, 3)) / 28**2
    assert 0.45 < (erased > 0).float().mean() < 0.55
    assert 0.005 < erased[erased > 0].min() and 0.15 < erased.max() < 0.24


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
