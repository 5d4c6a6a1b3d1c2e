"""A user's own augmentation."""

from __future__ import annotations

import pytest
import torch

from ckconv.errors import UsageError
from datasets import build_loaders, describe
from datasets.batches.sample_transforms import SampleTransforms, build_transforms, check_transforms
from datasets.batches.transforms import Draw


def draw(total: int, own: slice = slice(None)) -> Draw:
    return Draw(torch.Generator().manual_seed(0), total, own)


def test_every_image_gets_its_own_random_numbers_whatever_the_processes():
    x = torch.arange(16 * 8 * 8).view(1, 16, 8, 8).expand(8, -1, -1, -1)[:, :3].to(torch.uint8)
    stage = SampleTransforms(
        build_transforms(["RandomHorizontalFlip", {"RandomRotation": {"degrees": 90}}])
    )
    torch.manual_seed(1)
    before = torch.get_rng_state()
    y = stage(x, draw(8))
    assert torch.equal(torch.get_rng_state(), before)  # dropout is not disturbed
    assert y.shape == x.shape and y.dtype == torch.uint8
    assert len({image.numpy().tobytes() for image in y}) == 8
    assert torch.equal(y, stage(x, draw(8)))
    assert torch.equal(y[1::2], stage(x[1::2], draw(8, slice(1, None, 2))))


@pytest.mark.parametrize(
    "listed, said",
    [
        (["RandomFlip"], "RandomFlip: unknown"),
        ([{"RandomRotation": {"degree": 3}}], "RandomRotation does not take {'degree': 3}"),
        (["RandomRotation"], "RandomRotation does not take {}"),
        ([3], "3 is no name"),
        ([{"CenterCrop": {"size": 4}}], r"CenterCrop makes \(1, 4, 4\) of an image of \(1, 8, 8\)"),
        ([{"ToDtype": {"dtype": None}}], "ToDtype"),
        ([{"Normalize": {"mean": [0.5], "std": [1.0]}}], "Normalize"),
    ],
)
def test_what_cannot_be_is_said(listed, said):
    with pytest.raises(UsageError, match=said):
        check_transforms(build_transforms(listed), 1, (8, 8))


def test_transforms_of_the_training_images(make_cfg):
    cfg = make_cfg("Digits", transforms=[{"RandomInvert": {"p": 1.0}}])
    augmented = build_loaders(cfg)[1]
    cfg.dataset_params.transforms = []
    plain = build_loaders(cfg)[1]
    for part, same in (("train", False), ("validation", True), ("test", True)):
        (x, _), (z, _) = (
            next(iter(getattr(loaders, part).batches())) for loaders in (plain, augmented)
        )
        assert torch.equal(x, z) == same


def test_sequences_have_none(make_cfg):
    with pytest.raises(UsageError, match="transforms.*AddProblem has no such variant"):
        describe(make_cfg("AddProblem", transforms=["RandomInvert"]))
