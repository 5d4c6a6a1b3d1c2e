"""Small ImageNets in both of their layouts, and what was stored back from what a network sees."""

from __future__ import annotations

from cfg.schema import Config

import pickle
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from datasets.files.imagenet_batches import BATCHES

CLASSES = ("n01", "n02", "n03")
MODES = {
    "streamed": {},
    "in_ram": {"in_ram": True},
    "from_cache": {"from_cache": True},
    "both": {"in_ram": True, "from_cache": True},
}


def pixels_of(part: str, label: int, number: int, size: int = 8) -> np.ndarray:
    """An image (H, W, 3) that nothing else resembles."""
    seed = {"train": 0, "val": 1000}[part] + 100 * label + number
    return np.random.RandomState(seed).randint(0, 256, (size, size, 3)).astype(np.uint8)


def write_folders(root: Path, train: int = 20, val: int = 5, extension: str = "png") -> Path:
    folder = root / "Imagenet8"
    for part, count in (("train", train), ("val", val)):
        for label, name in enumerate(CLASSES):
            (folder / part / name).mkdir(parents=True)
            for number in range(count):
                image = Image.fromarray(pixels_of(part, label, number))
                image.save(folder / part / name / f"{name}_{number:03d}.{extension}")
    return folder


def write_batches(folder: Path, npz: bool = False, per_file: int = 4, protocol: int = 4) -> None:
    folder.mkdir(parents=True)
    random = np.random.RandomState(0)
    for name in (*BATCHES["train"], *BATCHES["val"]):
        content = {
            "data": random.randint(0, 256, (per_file, 3 * 64)).astype(np.uint8),
            "labels": [1 + i % 2 for i in range(per_file)],
            "mean": np.zeros(3 * 64),
        }
        if npz:
            np.savez(folder / f"{name}.npz", **content)
        else:
            (folder / name).write_bytes(pickle.dumps(content, protocol=protocol))


def with_mode(cfg: Config, mode: str) -> Config:
    for name, value in MODES[mode].items():
        setattr(cfg.dataset_params, name, value)
    return cfg


def raw(x: torch.Tensor) -> np.ndarray:
    """Normalised images back to pixels, (n, H, W, 3)."""
    mean = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
    std = torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
    return (255 * (x * std + mean)).round().permute(0, 2, 3, 1).byte().numpy()
