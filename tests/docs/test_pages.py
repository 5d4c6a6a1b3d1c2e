"""The documentation is whole, seen without building it: flags, presets, data sets, the library."""

from __future__ import annotations

from cfg.flags import known_flags

import importlib.util
import inspect
from pathlib import Path

import pytest

from datasets import DATASETS
from program.words.page import flags, preset_names

PROJECT = Path(__file__).resolve().parents[2]
spec = importlib.util.spec_from_file_location("docs_pages", PROJECT / "docs" / "pages.py")
pages = importlib.util.module_from_spec(spec)
spec.loader.exec_module(pages)
PRESETS_PAGE = pages.presets_page()


def test_every_flag_has_a_comment():
    assert {flag.name for flag in flags()} == set(known_flags())
    assert [flag.name for flag in flags() if not flag.meaning] == []


def test_the_page_of_flags_has_them_all():
    text = pages.flags_page()
    for flag in known_flags():
        assert f"`{flag}`" in text or f"`{flag}=" in text


@pytest.mark.parametrize("name", preset_names())
def test_every_preset_says_what_it_is(name):
    purpose = pages.preset_purpose(name)
    assert purpose.endswith((".", ".)")) and 10 < len(purpose) < 200
    assert f"| `{name}` | {pages._escaped(purpose)} |\n" in PRESETS_PAGE


def test_every_data_set_is_described():
    text = pages.data_page()
    for name in DATASETS:
        assert f"`{name}`" in text


def test_every_public_name_of_the_library_has_a_docstring():
    missing = []
    for name, module in pages.public_modules().items():
        text = pages.api_page(module)
        for public in pages.public_names(module):
            thing = getattr(module, public)
            assert f"::: {name}.{public}\n" in text + "\n"
            if inspect.isroutine(thing) or inspect.isclass(thing):
                missing += [] if inspect.getdoc(thing) else [f"{name}.{public}"]
    assert missing == []


def test_the_librarys_parts_have_pages():
    parts = {"ckconv", "ckconv.nn", "ckconv.nn.ck", "ckconv.functional", "ckconv.published"}
    assert parts <= set(pages.public_modules())


def test_what_pages_link_to_is_there():
    made = set(pages.generated())
    for path in pages.pages():
        for target in pages.LINK.findall(path.read_text()):
            found = (path.parent / target).resolve()
            if not found.exists():
                assert found.relative_to(PROJECT).as_posix() in made, f"{path}: {target}"
