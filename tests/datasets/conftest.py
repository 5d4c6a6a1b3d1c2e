"""Configs, small data sets, and no network whatever a test does."""

from __future__ import annotations

from cfg.schema import Config

import urllib.request
from collections.abc import Callable
from pathlib import Path
from urllib.error import URLError
from urllib.parse import urlparse

import numpy as np
import pytest
from small_images import RANDOM, labels

from datasets.cifar import CIFAR10, CIFAR100
from datasets.files import download
from datasets.mnist import MNIST


@pytest.fixture
def make_cfg(tmp_path: Path) -> Callable[..., Config]:
    """A config of `dataset`, its data in the test's folder; `params` go to `dataset_params`."""

    def make(dataset: str, **params: object) -> Config:
        cfg = Config()
        cfg.dataset = dataset
        cfg.dataset_params.root = str(tmp_path / "data")
        cfg.train.batch_size = 16
        for name, value in params.items():
            assert hasattr(cfg.dataset_params, name)
            setattr(cfg.dataset_params, name, value)
        return cfg

    return make


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only file:// addresses are answered."""

    def urlopen(request: urllib.request.Request, timeout: float):
        if urlparse(request.full_url).scheme != "file":
            raise URLError("no network in tests")
        return urllib.request.urlopen(request, timeout=timeout)

    monkeypatch.setattr(download, "urlopen", urlopen)


@pytest.fixture
def mnist(tmp_path: Path, monkeypatch) -> dict[str, np.ndarray]:
    """A small MNIST on disk: 40 training images and 20 for the test."""
    monkeypatch.setattr(MNIST, "train_total", 40)
    monkeypatch.setattr(MNIST, "test_total", 20)
    folder = tmp_path / "data" / "MNIST" / "raw"
    folder.mkdir(parents=True)
    content = {}
    for split, count in (("train", 40), ("t10k", 20)):
        pixels = RANDOM.randint(0, 256, (count, 28, 28)).astype(np.uint8)
        content[split] = pixels
        header = b"\0\0\x08\x03" + np.array([count, 28, 28], ">u4").tobytes()
        (folder / f"{split}-images-idx3-ubyte").write_bytes(header + pixels.tobytes())
        header = b"\0\0\x08\x01" + np.array([count], ">u4").tobytes()
        (folder / f"{split}-labels-idx1-ubyte").write_bytes(header + labels(count).tobytes())
    return content


@pytest.fixture
def small_cifar(monkeypatch) -> dict[str, np.ndarray]:
    """CIFAR with 20 images per file: their pixels by the file's name."""
    for dataset, classes in ((CIFAR10, 10), (CIFAR100, 100)):
        sizes = {10: 20, 100: 200}[classes]
        monkeypatch.setattr(dataset, "files", tuple((name, sizes) for name, _ in dataset.files))
        monkeypatch.setattr(dataset, "train_total", sizes * (len(dataset.files) - 1))
    names = {name for name, _ in CIFAR10.files}
    return {name: RANDOM.randint(0, 256, (20, 3072)).astype(np.uint8) for name in names}
