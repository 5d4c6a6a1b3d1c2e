"""Image files of all kinds: sizes, orientation, damage."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ckconv.errors import UsageError
from datasets.files.pictures import ImageFiles, read_header, read_headers, read_image

PIXELS = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds no pixels."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        body = kind + content
        return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"")


def test_pixels_and_header(tmp_path):
    path = tmp_path / "a.png"
    Image.fromarray(PIXELS).save(path)
    assert read_header(path).size == (4, 6) and read_header(path).channels == 3
    assert np.array_equal(read_image(path), PIXELS.transpose(2, 0, 1))
    grey = tmp_path / "b.png"
    Image.fromarray(PIXELS[..., 0]).save(grey)
    assert [header.channels for header in read_headers([path, grey])] == [3, 1]
    assert np.array_equal(read_image(grey, channels=1), PIXELS[None, ..., 0])
    assert np.array_equal(read_image(grey, channels=3), np.stack([PIXELS[..., 0]] * 3))


@pytest.mark.parametrize(
    "orientation, turned", [(3, lambda x: x[::-1, ::-1]), (6, np.rot90), (8, np.rot90)]
)
def test_the_orientation_that_the_camera_noted_is_respected(tmp_path, orientation, turned):
    path = tmp_path / "a.png"
    image = Image.fromarray(PIXELS)
    exif = image.getexif()
    exif[0x0112] = orientation
    image.save(path, exif=exif)
    expected = turned(PIXELS, -1) if orientation == 6 else turned(PIXELS)
    assert np.array_equal(read_image(path), expected.transpose(2, 0, 1))
    assert read_header(path).size == expected.shape[:2]


def test_resizing_averages_what_a_pixel_covers(tmp_path):
    path = tmp_path / "a.png"
    Image.fromarray(np.full((40, 60), 100, np.uint8)).save(path)
    small = read_image(path, channels=1, size=(5, 7))
    assert small.shape == (1, 5, 7) and (small == 100).all()
    assert ImageFiles([path], [0], 1, (5, 7)).read([0]).shape == (1, 1, 5, 7)


@pytest.mark.parametrize("read", [read_header, read_image])
def test_a_huge_picture_is_refused_before_it_is_decoded(tmp_path, read):
    path = tmp_path / "huge.png"
    path.write_bytes(png_header(60_000, 60_000))
    with pytest.raises(UsageError, match="huge.png: is too large an image"):
        read(path)


def test_a_large_picture_within_the_limit_gives_no_warning(tmp_path, recwarn):
    path = tmp_path / "large.png"
    path.write_bytes(png_header(9_900, 9_900))
    assert read_header(path).size == (9_900, 9_900)
    assert not recwarn.list


def test_what_is_no_image_is_named(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(b"no image")
    with pytest.raises(UsageError, match="a.png: is not a readable image"):
        read_image(path)
    whole = tmp_path / "b.png"
    Image.fromarray(np.random.RandomState(0).randint(0, 255, (64, 64, 3)).astype(np.uint8)).save(
        whole
    )
    whole.write_bytes(whole.read_bytes()[:-200])
    with pytest.raises(UsageError, match="b.png"):
        read_image(whole)
    deep = Path(tmp_path / "c.png")
    Image.fromarray(np.full((4, 4), 40_000, np.uint16)).save(deep)
    with pytest.raises(UsageError, match="c.png: has more than 8 bits"):
        read_image(deep)
