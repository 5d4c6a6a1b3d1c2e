"""The functions and images that are fitted."""

from __future__ import annotations

import math
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from ckconv.errors import UsageError
from ckernel_fitting.images import load_image
from ckernel_fitting.settings import FUNCTIONS, Settings
from ckernel_fitting.targets import build_target, grid


def test_chirp_is_sin_of_x_squared():
    target = build_target(Settings(function="SinusChirp", min=-15.0, max=0.0, no_samples=1000))
    x = np.linspace(-15, 0, 1000)
    np.testing.assert_allclose(target.values[0].numpy(), np.sin(x**2), atol=1e-5)
    assert target.positions.shape == (1, 1, 1000)
    assert target.positions[0, 0, 0] == -1 and target.positions[0, 0, -1] == 1
    middles = (x[1:] + x[:-1]) / 2
    np.testing.assert_allclose(target.between.values[0].numpy(), np.sin(middles**2), atol=1e-5)


def test_gabor_frequency_width_and_direction():
    target = build_target(Settings(function="Gabor", dim=2, freq=8.0, sigma=0.3, theta=90.0))
    assert target.values.shape == (1, 33, 33)
    x = np.linspace(-1, 1, 33)
    row = np.exp(-0.5 * (x / 0.3) ** 2) * np.cos(8 * x)  # the wave runs along the columns
    np.testing.assert_allclose(target.values[0, 16].numpy(), row, atol=1e-6)
    column = np.exp(-0.5 * (x / 0.3) ** 2)
    np.testing.assert_allclose(target.values[0, :, 16].numpy(), column, atol=1e-6)


def test_sawtooth_rises_from_minus_one_to_one():
    freq = 2 * math.pi  # a period of 1
    target = build_target(Settings(function="Sawtooth", min=0.0, max=2.0, no_samples=9, freq=freq))
    expected = [-1, -0.5, 0, 0.5, -1, -0.5, 0, 0.5, -1]
    np.testing.assert_allclose(target.values[0].numpy(), expected, atol=1e-6)


def test_sine_counts_radians():
    for name in ("Sine", "Sinus"):
        target = build_target(Settings(function=name, no_samples=65, freq=3.0))
        np.testing.assert_allclose(
            target.values[0].numpy(), np.sin(3 * np.linspace(-1, 1, 65)), atol=1e-6
        )


def test_random_follows_its_own_seed():
    def values(**changes):
        return build_target(Settings(function="Random", no_samples=50, **changes)).values

    assert torch.equal(values(seed=0), values(seed=1))
    assert not torch.equal(values(), values(function_seed=1))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_function_in_both_dimensions(name):
    for dim, shape in ((1, (1, 20)), (2, (1, 20, 20))):
        target = build_target(Settings(function=name, dim=dim, no_samples=20))
        assert target.values.shape == shape and target.values.isfinite().all()
        assert target.positions.shape == (1, dim, *shape[1:])


def test_padding_surrounds_with_zeros():
    inner = build_target(Settings(function="Constant", dim=2, no_samples=4)).values
    padded = build_target(Settings(function="Constant", dim=2, no_samples=4, padding=3)).values
    assert padded.shape == (1, 10, 10)
    assert torch.equal(padded[:, 3:7, 3:7], inner)
    assert padded.sum() == inner.sum()


def test_value_range():
    assert build_target(Settings(function="Linear", min=-1.0, max=3.0)).value_range == 4.0
    assert build_target(Settings(function="Constant")).value_range == 1.0


def test_halfway_grid():
    assert torch.allclose(grid((3,), halfway=True), torch.tensor([[-0.5, 0.5]]).double())


@pytest.fixture
def pictures(tmp_path):
    pixels = np.zeros((6, 8, 3), np.uint8)
    pixels[..., 0], pixels[2, 3, 1] = 255, 51
    for name in ("b.png", "a.png"):
        Image.fromarray(pixels).save(tmp_path / name)
    Image.fromarray(np.full((8, 8), 128, np.uint8)).save(tmp_path / "c.png")
    (tmp_path / "notes.txt").write_text("not a picture")
    return tmp_path


def test_image_file(pictures):
    target = build_target(Settings(function="Image", path=str(pictures / "a.png")))
    assert target.values.shape == (3, 6, 8)
    assert target.values[0].eq(1).all() and target.values[1, 2, 3] == pytest.approx(0.2)
    gray = build_target(Settings(function="Image", path=str(pictures / "a.png"), gray=True))
    assert gray.values.shape == (1, 6, 8)
    assert gray.values[0, 2, 3].item() == pytest.approx(0.299 + 0.2 * 0.587)
    resized = build_target(Settings(function="Image", path=str(pictures / "a.png"), no_samples=4))
    assert resized.values.shape == (3, 3, 4)


def test_kodak_folder_takes_its_pictures_in_order(pictures):
    target = build_target(Settings(function="Kodak", path=str(pictures), index=2))
    assert target.values.shape == (1, 8, 8)
    with pytest.raises(UsageError, match="index=3: there are 3 pictures"):
        build_target(Settings(function="Kodak", path=str(pictures), index=3))


def test_alexnet_filters_from_a_file(tmp_path):
    filters = torch.randn(4, 3, 11, 11)
    torch.save({"features.0.weight": filters}, tmp_path / "alexnet.pth")
    path = str(tmp_path / "alexnet.pth")
    one = build_target(Settings(function="AlexNet", path=path, index=2))
    assert torch.equal(one.values, filters[2])
    every = build_target(Settings(function="AlexNet", path=path, index=-1))
    assert torch.equal(every.values, filters.flatten(0, 1))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"function": "Image"}, "give the image file with path="),
        ({"function": "Image", "path": "{0}/none.png"}, "no such file"),
        ({"function": "Image", "path": "{0}"}, "is a folder"),
        ({"function": "Image", "path": "{0}/notes.txt"}, "not an image"),
        ({"function": "Image", "path": "{0}/cut.png"}, "damaged"),
        ({"function": "Kodak", "path": "{0}/none"}, "no such folder"),
        ({"function": "AlexNet", "path": "{0}/notes.txt"}, "not a file of weights"),
    ],
)
def test_unreadable_images(pictures, changes, words):
    whole = (pictures / "a.png").read_bytes()
    (pictures / "cut.png").write_bytes(whole[: len(whole) - 30])
    changes = {name: value.format(pictures) for name, value in changes.items()}
    with pytest.raises(UsageError, match=words):
        build_target(Settings(**changes))


def test_camera_man_without_scikit_image(monkeypatch):
    monkeypatch.setitem(sys.modules, "skimage", None)
    with pytest.raises(UsageError, match="pip install scikit-image"):
        build_target(Settings(function="CameraMan"))


def test_camera_man():
    pytest.importorskip("skimage")
    target = build_target(Settings(function="CameraMan", no_samples=32))
    assert target.values.shape == (1, 32, 32)
    assert 0 <= target.values.min() < 0.1 and 0.8 < target.values.max() <= 1


def test_a_photograph_is_turned_as_the_camera_was_held(tmp_path):
    pixels = np.arange(6, dtype=np.uint8).reshape(2, 3) * 40
    image = Image.fromarray(pixels)
    exif = image.getexif()
    exif[0x0112] = 6  # stored on its side: turn it clockwise
    image.save(tmp_path / "turned.png", exif=exif)
    read = load_image(Settings(function="Image", path=str(tmp_path / "turned.png")))
    assert torch.equal(read[0], torch.from_numpy(np.rot90(pixels, -1).copy()).float() / 255)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_no_numbers_are_refused_with_their_count(value, tmp_path):
    pixels = np.ones((4, 5), np.float32)
    pixels[1, 2:4] = value
    Image.fromarray(pixels).save(tmp_path / "holes.tiff")
    with pytest.raises(UsageError, match="holes.tiff: 2 of its 20 values are infinite or not num"):
        load_image(Settings(function="Image", path=str(tmp_path / "holes.tiff")))
