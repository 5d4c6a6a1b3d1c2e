"""Images to fit: scikit-image's camera man, files, Kodak, CIFAR, and AlexNet's first filters."""

from __future__ import annotations

import socket
import warnings
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as tf
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from ckconv.errors import UsageError, reason
from ckernel_fitting.settings import Settings
from datasets.base import DEFAULT_ROOT
from datasets.cifar import CIFAR10, CIFAR100

LONGEST_SIDE = 256  # of an image whose size is not asked for
SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")
LUMINANCE = (0.299, 0.587, 0.114)
TIMEOUT = 20  # seconds for a download to answer
FIRST_FILTERS = "features.0.weight"
UNREADABLE = {
    FileNotFoundError: "there is no such file",
    IsADirectoryError: "is a folder; give an image file",
    PermissionError: "may not be read; permission denied",
    UnidentifiedImageError: "is not an image that can be read",
    Image.DecompressionBombError: "is too large an image to fit",
    Image.DecompressionBombWarning: "is too large an image to fit",
}


def load_image(settings: Settings) -> Tensor:
    """The image that `settings.function` names, resized as asked: (channels, height, width).

    Colours and luminances are on [0, 1]; filters have the values of their weights. Raises
    `UsageError` for images that are missing or unreadable.
    """
    readers = {
        "CameraMan": _camera_man,
        "Image": lambda s: _read(_path(s, "the image file")),
        "Kodak": _kodak,
        "CIFAR10": _cifar,
        "CIFAR100": _cifar,
        "AlexNet": _alexnet_filters,
    }
    image = readers[settings.function](settings)  # (C, H, W)
    if settings.gray and image.shape[0] % 3 == 0:
        weights = image.new_tensor(LUMINANCE)[:, None, None]
        image = (image.unflatten(0, (-1, 3)) * weights).sum(1)  # (C / 3, H, W)
    return _resize(image, settings.no_samples)


def _resize(image: Tensor, longest: int | None) -> Tensor:
    height, width = image.shape[1:]
    factor = (longest or min(LONGEST_SIDE, max(height, width))) / max(height, width)
    if factor == 1:
        return image
    size = (max(2, round(height * factor)), max(2, round(width * factor)))
    return tf.interpolate(image[None], size, mode="bilinear", antialias=True)[0]


def _camera_man(settings: Settings) -> Tensor:
    try:
        from skimage import data
    except ImportError as error:
        raise UsageError(
            "function=CameraMan: the picture is part of scikit-image, which is not installed; "
            "pip install scikit-image"
        ) from error
    return torch.from_numpy(data.camera())[None].float() / 255


def _path(settings: Settings, what: str) -> Path:
    if not settings.path:
        raise UsageError(f"function={settings.function}: give {what} with path=...")
    return Path(settings.path).expanduser()


def _read(path: Path) -> Tensor:
    """An image file as (1 or 3, height, width) on [0, 1]."""
    try:
        with warnings.catch_warnings(), Image.open(path) as opened:
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            file = ImageOps.exif_transpose(opened)  # as the camera was held
            is_deep = file.mode.startswith(("I", "F"))  # more than 8 bits
            if not is_deep:
                file = file.convert("L" if file.mode in ("1", "L", "LA") else "RGB")
            pixels = np.asarray(file, np.float32)
    except Exception as error:  # damaged files make the decoders raise many kinds of exception
        why = UNREADABLE.get(type(error), f"is a damaged image ({error})")
        raise UsageError(f"path={path}: {why}") from error
    if bad := pixels.size - int(np.isfinite(pixels).sum()):
        raise UsageError(
            f"path={path}: {bad} of its {pixels.size} values are infinite or not numbers (NaN); "
            "give an image without them"
        )
    pixels = pixels / ((np.abs(pixels).max() or 1) if is_deep else 255)
    image = torch.from_numpy(np.ascontiguousarray(pixels))
    return image[None] if image.ndim == 2 else image.permute(2, 0, 1)


def _kodak(settings: Settings) -> Tensor:
    folder = _path(settings, "the folder of the 24 Kodak pictures")
    if not folder.is_dir():
        raise UsageError(f"path={folder}: there is no such folder; give that of the Kodak pictures")
    files = sorted(file for file in folder.iterdir() if file.suffix.lower() in SUFFIXES)
    if not files:
        raise UsageError(f"path={folder}: holds no pictures; put kodim01.png to kodim24.png there")
    _check_index(settings.index, len(files), f"pictures in {folder}")
    return _read(files[settings.index])


def _cifar(settings: Settings) -> Tensor:
    dataset = CIFAR10() if settings.function == "CIFAR10" else CIFAR100()
    root = Path(settings.path).expanduser() if settings.path else DEFAULT_ROOT
    images = dataset.read(root).train  # (N, 3, 32, 32)
    _check_index(settings.index, len(images), f"training images in {settings.function}")
    return torch.from_numpy(images[settings.index].copy()).float() / 255


def _alexnet_filters(settings: Settings) -> Tensor:
    """One filter of AlexNet's first layer, (3, 11, 11), or all 64 of them, (192, 11, 11)."""
    state = _alexnet_file(Path(settings.path)) if settings.path else _alexnet_download()
    filters = state.get(FIRST_FILTERS) if isinstance(state, dict) else None
    if not isinstance(filters, Tensor) or filters.ndim != 4:
        raise UsageError(f"path={settings.path}: holds no AlexNet, which has a {FIRST_FILTERS}")
    if settings.index == -1:
        return filters.flatten(0, 1)
    _check_index(settings.index, len(filters), "filters in AlexNet's first layer")
    return filters[settings.index]


def _alexnet_file(path: Path) -> dict:
    if not path.is_file():
        raise UsageError(f"path={path}: there is no such file; give AlexNet's weights")
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch reports damaged files by many kinds of exception
        raise UsageError(f"path={path}: is not a file of weights that can be read") from error


def _alexnet_download() -> dict:
    from torchvision.models import AlexNet_Weights

    weights = AlexNet_Weights.IMAGENET1K_V1
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(TIMEOUT)
    try:
        return weights.get_state_dict(progress=False, check_hash=True)
    except Exception as error:  # whatever the network does
        raise UsageError(
            f"function=AlexNet: the weights could not be downloaded ({reason(error, 100)}); fetch "
            f"{weights.url} elsewhere and give the file with path=..."
        ) from error
    finally:
        socket.setdefaulttimeout(before)


def _check_index(index: int, count: int, what: str) -> None:
    if not 0 <= index < count:
        raise UsageError(
            f"index={index}: there are {count} {what}; give a number from 0 to {count - 1}"
        )
