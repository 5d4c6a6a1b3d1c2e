"""Which tests run here: slow ones, those for a GPU and those for real data skip by themselves."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from typing import Any, BinaryIO

import pytest

# Rounding depends on the number of threads, so all tests, and the programs they start, share one.
# Read when torch is first imported.
os.environ["OMP_NUM_THREADS"] = "1"

import torch  # noqa: E402


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--slow", action="store_true", help="also run the tests that take minutes")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    reasons = {
        "slow": None if config.getoption("--slow") else "slow: run with --slow",
        "gpu": None if torch.cuda.is_available() else "needs a CUDA device",
        "real_data": None
        if os.environ.get("FLEXCONV_DATA")
        else "needs real data: set FLEXCONV_DATA to the folder that holds it",
    }
    for item in items:
        for marker, reason in reasons.items():
            if reason and marker in item.keywords:
                item.add_marker(pytest.mark.skip(reason=reason))
    # The programs' tests, the longest, first: two processes then end at about the same time.
    items.sort(key=lambda item: len(item.path.relative_to(config.rootpath).parts))


def pytest_collection_finish() -> None:
    """Modules and tests stay: the garbage collector need not look through them again and again."""
    gc.freeze()


@pytest.fixture
def sketched(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures of runs in this process are composed but not rendered, which takes longer than the
    runs do. The tests of pictures, and the runs in processes of their own, render theirs.
    """
    from matplotlib.figure import Figure
    from PIL import Image

    def savefig(figure: Figure, file: BinaryIO, format: str, **how: Any) -> None:
        if format != "png":
            return whole(figure, file, format=format, **how)
        Image.new("RGB", (1, 1)).save(file, "png")

    whole = Figure.savefig
    monkeypatch.setattr(Figure, "savefig", savefig)


@pytest.fixture(autouse=True)
def own_threads() -> Iterator[None]:
    """A program that a test runs may set the number of threads, on which rounding depends."""
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)
