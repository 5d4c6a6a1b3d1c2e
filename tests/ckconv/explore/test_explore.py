"""The page of a network's kernels: what it holds is what the layers use; a browser shows it."""

from __future__ import annotations

import base64
import json
import re
import shutil
import struct

import pytest
import torch
from torch import nn

from ckconv import CKConv, ConvConfig, FlexConv, KernelConfig, MaskConfig, UsageError
from ckconv.explore import page, write_page
from ckconv.explore.write import main

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")


def network(dim: int) -> nn.Module:
    torch.manual_seed(dim)
    shape = {"conv": ConvConfig(horizon="9"), "kernel": KernelConfig(no_hidden=8)}
    return nn.Sequential(
        FlexConv(2, 3, dim, mask=MaskConfig(init_value=0.3), **shape), CKConv(3, 1, dim, **shape)
    )


def data_of(text: str) -> dict:
    return json.loads(re.search(r'id="data">(.*?)</script>', text, re.DOTALL)[1])


def unpacked(packed: dict) -> torch.Tensor:
    content = base64.b64decode(packed["values"])
    whole = struct.unpack(f"<{len(content) // 2}h", content)
    return packed["scale"] * torch.tensor(whole, dtype=torch.float32)


@pytest.mark.parametrize("dim", [1, 2, 3])
def test_the_samples_on_the_page_are_the_kernel_in_use(dim):
    model = network(dim)
    for layer, module in zip(data_of(page(model))["layers"], model):
        assert layer["used"] == list(module.cropped_size())
        counts = [axis["count"] for axis in layer["axes"]]
        values = unpacked(layer["kernels"][1]).view(counts)
        if layer["mask"]:
            for d, profile in enumerate(map(unpacked, layer["mask"]["profiles"])):
                values = values * profile.view([-1 if e == d else 1 for e in range(len(counts))])
            values = values * layer["mask"]["slice"]
        own = next(one for one in layer["resolutions"] if one["ratio"] == 1)
        for d, axis in enumerate(layer["axes"]):
            n, (start, stop) = own["size"][-len(counts) + d], own["crop"][-len(counts) + d]
            step = (axis["last"] - axis["first"]) / (axis["count"] - 1)
            places = (torch.linspace(-1, 1, n)[start:stop] - axis["first"]) / step
            torch.testing.assert_close(places, places.round(), atol=1e-3, rtol=0)
            values = values.index_select(d, places.round().long())
        out, into = layer["kernels"][1]["of"]
        expected = module.conv_kernel.detach()[out, into]
        expected = expected[len(expected) // 2] if dim == 3 else expected
        torch.testing.assert_close(
            values, expected, atol=1e-3 * expected.abs().max().item(), rtol=0
        )


def test_the_page_needs_nothing_else_and_is_whole(tmp_path):
    write_page(network(2), tmp_path / "page.html", "</script><b>odd & name")
    text = (tmp_path / "page.html").read_text()
    assert not re.findall(r"(?:src|href)=|https?://|@@|import\s", text.replace("odd", ""))
    assert data_of(text)["title"] == "</script><b>odd & name"
    assert [path.name for path in tmp_path.iterdir()] == ["page.html"]


def test_more_samples_where_the_resolution_is_higher():
    layer = data_of(page(network(2)))["layers"][0]
    sizes = {one["ratio"]: one["size"][0] for one in layer["resolutions"]}
    assert sizes == {0.25: 3, 0.5: 5, 1: 9, 2: 17, 4: 33} and layer["nyquist"] == 2.0
    above = layer["kernels"][0]["spectrum"]["above"]
    assert above == sorted(above, reverse=True) and 0 <= above[-1] <= above[0] <= 1
    bounded, unbounded = (KernelConfig(type=name) for name in ("MAGNet", "SIREN"))
    for kernel, has in ((bounded, True), (unbounded, False)):
        model = FlexConv(1, 1, kernel=kernel, conv=ConvConfig(horizon="9"))
        assert (data_of(page(model))["layers"][0]["bound"] is not None) == has


def test_mistakes_are_one_sentence(tmp_path, capsys):
    with pytest.raises(UsageError, match="has no layers with continuous kernels"):
        page(nn.Conv2d(1, 1, 3))
    assert main([str(tmp_path / "none.pt")]) == 1
    assert "does not exist" in capsys.readouterr().err
    assert main([str(tmp_path), "--kernels", "0"]) == 1
    assert capsys.readouterr().err.startswith("error: --kernels 0: give a number")


@pytest.mark.slow  # a browser starts
@pytest.mark.parametrize("dim", [1, 2])
def test_a_browser_shows_it(tmp_path, dim):
    api = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    browser_path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser_path is None:
        pytest.skip(f"needs a browser: none of {', '.join(BROWSERS)} is installed")
    write_page(network(dim), tmp_path / "page.html", "a network")
    mistakes = []
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browser_path, args=["--no-sandbox"])
        shown = browser.new_context(offline=True).new_page()
        shown.on("pageerror", lambda error: mistakes.append(str(error)))
        shown.on("console", lambda message: mistakes.append(message.text))
        shown.goto((tmp_path / "page.html").as_uri())
        assert shown.inner_text("h1") == "a network"
        assert shown.locator("#layers button").count() == 2
        pictures = [_pixels(shown)]
        for act in (
            lambda: shown.click("#resolutions button:nth-of-type(5)"),
            lambda: shown.keyboard.press("ArrowRight"),
            lambda: shown.uncheck("#with-mask"),
            lambda: shown.click("#layers button:nth-of-type(2)"),
        ):
            act()
            pictures.append(_pixels(shown))
        assert len(set(pictures)) == len(pictures)  # everything that is picked is seen
        assert "33" in shown.inner_text("#panels") and "layer=1" in shown.url
        assert shown.is_visible("#function") == (dim == 2)
        browser.close()
    assert mistakes == []


def _pixels(shown) -> str:
    """What the panels show, all in one text."""
    return shown.evaluate(
        "Array.from(document.querySelectorAll('#panels figure:not([hidden]) canvas'))"
        ".map((one) => one.toDataURL()).join()"
    )
