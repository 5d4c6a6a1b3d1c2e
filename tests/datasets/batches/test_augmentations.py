"""Augmentations: what torchvision does to one image, and how often it happens to many."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms.functional import affine, rotate

from datasets.batches.augmentations import Cutout, DigitDistortion, FlipCrop, RandomErasing
from datasets.batches.transforms import Draw


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


DIGITS = torch.randint(0, 256, (24, 1, 28, 28), dtype=torch.uint8)


class Fixed(Draw):
    """The numbers that are given, one row for each sample."""

    def __init__(self, numbers: torch.Tensor):
        self.numbers = numbers

    def uniform(self, columns: int) -> torch.Tensor:
        assert columns == self.numbers.shape[1]
        return self.numbers


def one_by_one(images: torch.Tensor, change) -> torch.Tensor:
    """Each image as Pillow's, changed by `change(image, number)`."""
    changed = [change(Image.fromarray(x[0].numpy()), i) for i, x in enumerate(images)]
    return torch.from_numpy(np.stack(changed))[:, None]


@pytest.fixture
def numbers() -> torch.Tensor:
    """Chances that none is chosen by, then random angles, shifts and scales."""
    torch.manual_seed(3)
    return torch.cat([torch.full((24, 3), 0.9), torch.rand(24, 4)], 1)


def test_digits_are_left_alone_half_of_the_time_by_each_change(numbers):
    assert torch.equal(DigitDistortion()(DIGITS, Fixed(numbers)), DIGITS)


def test_digits_turn_as_torchvisions(numbers):
    numbers[:, 0] = 0.1
    out = DigitDistortion()(DIGITS, Fixed(numbers))
    angles = 30 * (2 * numbers[:, 3] - 1)
    assert angles.min() < -20 and angles.max() > 20
    expected = one_by_one(DIGITS, lambda image, i: rotate(image, float(angles[i])))
    assert out.dtype == torch.uint8
    assert (out == expected).float().mean() > 0.999  # a place between two pixels may round


def test_digits_move_by_whole_pixels_as_torchvisions(numbers):
    numbers[:, 1] = 0.1
    out = DigitDistortion()(DIGITS, Fixed(numbers))
    shifts = [[round(float(2 * (2 * n - 1))) for n in row[4:6]] for row in numbers]
    assert {n for shift in shifts for n in shift} == {-2, -1, 0, 1, 2}
    assert torch.equal(
        out, one_by_one(DIGITS, lambda image, i: affine(image, 0, shifts[i], 1.0, [0.0]))
    )


def test_digits_shrink_as_torchvisions(numbers):
    numbers[:, 2] = 0.1
    out = DigitDistortion()(DIGITS, Fixed(numbers))
    scales = 1 - 0.25 * numbers[:, 6]
    expected = one_by_one(
        DIGITS, lambda image, i: affine(image, 0, [0, 0], float(scales[i]), [0.0])
    )
    assert (out == expected).float().mean() > 0.999


def test_digits_are_turned_first_then_moved_then_shrunk(numbers):
    numbers[:, :3] = 0.1
    step = DIGITS
    for change in range(3):
        alone = numbers.clone()
        alone[:, :3] = 0.9
        alone[:, change] = 0.1
        step = DigitDistortion()(step, Fixed(alone))
    assert torch.equal(DigitDistortion()(DIGITS, Fixed(numbers)), step)


def test_each_change_happens_to_half_of_the_digits():
    image = torch.zeros(4000, 1, 28, 28, dtype=torch.uint8)
    image[:, :, 3:25, 6:20] = 200
    image[:, :, 5, 9] = 100
    out = DigitDistortion()(image, draw(4000))
    untouched = (out == image).flatten(1).all(1).float().mean()
    # 1/8, and those that are shifted by nothing: 1/8 * 1/16, and turned by less than shows
    assert 0.125 < untouched < 0.17


def test_a_square_of_its_area_is_erased_half_of_the_time_and_inside():
    x = torch.ones(4000, 1, 28, 28)
    erased = RandomErasing(4 / 28)(x, draw(4000))[:, 0] == 0
    areas = erased.sum((1, 2))
    assert set(areas.tolist()) == {0, 11**2}
    assert 0.47 < (areas > 0).float().mean() < 0.53
    assert erased.any(0).all()  # also the corners
    rows = erased.any(2).sum(1)
    assert set(rows.tolist()) == {0, 11}


def test_cutout_is_cut_at_the_border_and_its_centre_anywhere():
    erased = Cutout(32)(torch.ones(6000, 3, 96, 96), draw(6000)) == 0
    assert torch.equal(erased[:, 0], erased[:, 2])
    heights, widths = erased[:, 0].any(2).sum(1), erased[:, 0].any(1).sum(1)
    for sides in (heights, widths):
        assert (sides.min(), sides.max()) == (16, 32)
        # the centre is at one of 96 places; 33 pixels from the left and 32 from the right are cut
        assert 0.64 < (sides == 32).float().mean() < 0.71
    assert torch.equal(erased[:, 0].sum((1, 2)), heights * widths)
