"""Configs, and no network whatever a test does."""

from __future__ import annotations

from cfg.schema import Config

import urllib.request
from collections.abc import Callable
from pathlib import Path
from urllib.error import URLError
from urllib.parse import urlparse

import pytest

from datasets.files import download


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
