"""Image files of any size and kind: what their headers say, and their pixels."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from ckconv.errors import UsageError

if TYPE_CHECKING:
    from PIL.Image import Image

EXTENSIONS = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp")
MOST_PIXELS = 100_000_000  # of one image: more is a mistake or an attack on the memory
ORIENTATION, TURNED = 0x0112, (5, 6, 7, 8)  # the EXIF tag; its values that swap the sides
GREY, DEEP = ("1", "L", "LA"), ("I", "F", "I;16", "I;16B", "I;16L")
THREADS = 8


@dataclass(frozen=True)
class Header:
    """An image's size as it is meant to be seen, and its channels: 1 for grey, 3 for colour."""

    size: tuple[int, int]  # height, width
    channels: int


def read_header(path: Path) -> Header:
    """What the file says of its image. Raises `UsageError` for one that `read_image` would not
    read; damage behind the header goes unnoticed."""
    from PIL import Image

    with _opened(path) as image:
        width, height = image.size
        exif = Image.Image.getexif(image)  # a PNG's own method would decode the pixels
        size = (width, height) if exif.get(ORIENTATION) in TURNED else (height, width)
        return Header(size, 1 if image.mode in GREY else 3)


def read_headers(paths: Sequence[Path]) -> list[Header]:
    """The headers of many files, several at a time."""
    with ThreadPoolExecutor(THREADS) as pool:
        headers = pool.map(read_header, paths)
        return list(tqdm(headers, "looking at images", len(paths), disable=not _is_watched(paths)))


def read_image(path: Path, channels: int = 3, size: tuple[int, int] | None = None) -> NDArray:
    """The pixels (channels, H, W), uint8, turned as the camera says, resized to (height, width).

    Resizing is bilinear over all pixels that a new one covers. Raises `UsageError` naming a file
    that is no readable image, has over 8 bits per channel, or is too large.
    """
    from PIL import Image, ImageOps

    with _opened(path) as image:
        image = ImageOps.exif_transpose(image).convert("L" if channels == 1 else "RGB")
        if size and image.size != size[::-1]:
            image = image.resize(size[::-1], Image.Resampling.BILINEAR)
        pixels = np.asarray(image)
    pixels = pixels[None] if channels == 1 else pixels.transpose(2, 0, 1)
    return np.ascontiguousarray(pixels)


@contextmanager
def _opened(path: Path) -> Iterator[Image]:
    from PIL import Image

    # For good, not for this block: several threads are in it at once.
    warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
    try:
        with Image.open(path) as image:
            width, height = image.size
            if width * height > MOST_PIXELS:
                raise Image.DecompressionBombError(f"{width} x {height}")
            if image.mode in DEEP:
                raise UsageError(
                    f"{path}: has more than 8 bits per channel; save it with 8, or give the "
                    "numbers as an array with dataset=Arrays"
                )
            yield image
    except Image.DecompressionBombError as error:
        raise UsageError(
            f"{path}: is too large an image ({error}); give at most {MOST_PIXELS:,} pixels"
        ) from error
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        if isinstance(error, UsageError):
            raise
        raise UsageError(f"{path}: is not a readable image ({error}); replace it") from error


def _is_watched(paths: Sequence[Path]) -> bool:
    return sys.stderr.isatty() and len(paths) > 1000


class ImageFiles:
    """Labelled image files, read at one size; an `ImageStore`."""

    def __init__(
        self, paths: Sequence[Path], labels: Sequence[int], channels: int, size: tuple[int, int]
    ):
        # Arrays, not lists: processes that read images share them without copying.
        self.paths = np.array([str(path) for path in paths])
        self.labels = np.array(labels, np.int64)
        self.channels, self.size = channels, size

    def read(self, indices: Sequence[int]) -> NDArray:
        """The pixels of some images, (n, C, H, W) uint8."""
        pixels = np.empty((len(indices), self.channels, *self.size), np.uint8)
        for row, index in enumerate(indices):
            pixels[row] = read_image(Path(self.paths[index]), self.channels, self.size)
        return pixels
