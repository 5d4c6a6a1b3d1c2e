"""Images at other resolutions: values, order of the stages, and refusals."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torchvision.transforms.functional as published
from PIL import Image

from ckconv.errors import UsageError
from datasets import build_loaders, describe
from datasets.base import Request
from datasets.batches.resample import Blur, Resize, target_size
from datasets.batches.transforms import Draw
from datasets.cifar import CIFAR10
from datasets.digits import Digits

NO_DRAW = Draw(torch.Generator(), 4, slice(None))


def images(*size, samples=4):
    return torch.randint(0, 256, (samples, 3, *size), dtype=torch.uint8)


@pytest.mark.parametrize("size", [(16, 16), (28, 20), (40, 36), (8, 32)])
def test_resize_is_pillows(size):
    x = images(32, 32)
    for name, method in (("bilinear", Image.BILINEAR), ("nearest", Image.NEAREST)):
        expected = [
            np.asarray(Image.fromarray(i.permute(1, 2, 0).numpy()).resize(size[::-1], method))
            for i in x
        ]
        expected = torch.from_numpy(np.stack(expected)).permute(0, 3, 1, 2).float()
        error = Resize(size, name)(x, NO_DRAW) - expected
        if name == "nearest":  # a place between two pixels may round
            assert (error == 0).float().mean() > (0.75 if 32 % size[1] else 0.999)
        else:  # Pillow rounds to 8 bits, twice
            assert error.abs().max() < 1.01 and error.square().mean().sqrt() < 0.4


def test_half_the_resolution_weighs_its_neighbours_too():
    x = images(12, 8).float()
    weights = torch.tensor([1.0, 3, 3, 1]) / 8
    inner = x[:, :, 1:-1, 1:-1]  # without the edge, which has fewer neighbours
    inner = (inner.unfold(2, 4, 2) @ weights).unfold(3, 4, 2) @ weights
    torch.testing.assert_close(Resize((6, 4))(x, NO_DRAW)[:, :, 1:-1, 1:-1], inner)


def test_the_stored_size_is_left_alone():
    x = images(8, 8)
    assert Resize((8, 8))(x, NO_DRAW) is x


@pytest.mark.parametrize("sigma", [0.5, 1.0, 2.0])
def test_blur_is_torchvisions(sigma):
    x = images(20, 16).float()
    kernel_size = 2 * -(-int(30 * sigma) // 10) + 1
    expected = published.gaussian_blur(x, [kernel_size] * 2, [sigma] * 2)
    torch.testing.assert_close(Blur(sigma)(x, NO_DRAW), expected, rtol=1e-4, atol=1e-3)


def test_blur_of_an_image_smaller_than_its_reach_keeps_a_constant():
    x = torch.full((1, 1, 3, 2), 7.0)
    torch.testing.assert_close(Blur(4.0)(x, NO_DRAW), x)


def configured(make_cfg, dataset="Digits", **cross_res):
    cfg = make_cfg(dataset)
    for name, value in cross_res.items():
        setattr(cfg.cross_res, name, value)
    return cfg


def test_resized_digits_and_their_task(make_cfg):
    cfg = configured(make_cfg, resize="4,4")
    assert describe(cfg).size == (4, 4)
    small = next(build_loaders(cfg)[1].test.batches())[0]
    whole = next(build_loaders(make_cfg("Digits"))[1].test.batches())[0]
    assert small.shape[2:] == (4, 4)
    expected = torch.nn.functional.interpolate(whole, (4, 4), mode="bilinear", antialias=True)
    torch.testing.assert_close(small, expected)


def test_not_square(make_cfg):
    cfg = configured(make_cfg, resize=" 6, 10")
    task, loaders = build_loaders(cfg)
    assert task.size == (6, 10)
    assert next(loaders.train.batches())[0].shape[2:] == (6, 10)


def test_a_size_by_argument_takes_the_flags_place(make_cfg):
    by_flag = describe(configured(make_cfg, resize="4,6"))
    cfg = configured(make_cfg, resize="5,5")
    task, loaders = build_loaders(cfg, size=(4, 6))
    assert task == by_flag == describe(cfg, size=(4, 6)) and cfg.cross_res.resize == "5,5"
    expected = next(build_loaders(configured(make_cfg, resize="4,6"))[1].train.batches())[0]
    assert torch.equal(next(loaders.train.batches())[0], expected)
    with pytest.raises(UsageError, match="sDigits has no images"):
        describe(make_cfg("sDigits"), size=(4, 4))


def test_a_task_that_was_described_is_not_described_again(make_cfg, monkeypatch):
    cfg = make_cfg("Digits")
    task = describe(cfg)
    monkeypatch.setattr(Digits, "describe", None)
    assert build_loaders(cfg, task=task)[0] == task


def stage_names(cfg, augment=None):
    stages = CIFAR10().pipeline(Request(cfg.dataset_params, cfg.cross_res, augment)).stages
    return [type(stage).__name__ for stage in stages]


def test_blur_flip_and_crop_come_at_the_stored_size(make_cfg):
    cfg = configured(make_cfg, resize="16,16", resize_blur=True)
    assert stage_names(cfg, "resnet") == ["Blur", "FlipCrop", "Resize", "Normalise"]
    assert stage_names(configured(make_cfg, resize_blur=True)) == ["Normalise"]
    assert stage_names(configured(make_cfg, blur=True)) == ["Blur", "Normalise"]
    assert stage_names(configured(make_cfg, blur=True, resize_blur=True, resize="8,8")) == [
        "Blur",
        "Resize",
        "Normalise",
    ]


def test_images_that_are_not_resized_are_not_blurred_for_it(make_cfg):
    own_size = configured(make_cfg, resize="32,32", resize_blur=True)
    assert stage_names(own_size) == ["Normalise"]
    assert stage_names(configured(make_cfg, resize="32,32", blur=True)) == ["Blur", "Normalise"]


def test_a_blur_of_no_width_is_none(make_cfg):
    for flags in ({"blur": True}, {"resize_blur": True, "resize": "16,16"}):
        assert "Blur" not in stage_names(configured(make_cfg, resize_blur_sigma=0.0, **flags))


@pytest.mark.parametrize("text", ["16", "16,0", "16,16,16", "a,b", "-4,4", "4.5,4"])
def test_a_size_that_is_none(make_cfg, text):
    with pytest.raises(UsageError, match="cross_res.resize="):
        target_size(configured(make_cfg, resize=text).cross_res)


def test_flags_that_cannot_be_honoured(make_cfg):
    with pytest.raises(UsageError, match="cross_res.interpolation=bicubic"):
        describe(configured(make_cfg, interpolation="bicubic"))
    with pytest.raises(UsageError, match="cross_res.resize_blur_sigma=-1.0: give a number from 0"):
        describe(configured(make_cfg, resize_blur_sigma=-1.0))
    with pytest.raises(UsageError, match="cross_res.resize=4,4: sDigits has no images"):
        describe(configured(make_cfg, "sDigits", resize="4,4"))
    with pytest.raises(UsageError, match="cross_res.blur=True: AddProblem"):
        describe(configured(make_cfg, "AddProblem", blur=True))
