"""The report in headless Chromium: it is one file, all of it is seen, and nothing is asked of anybody."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from browser import Browser, chromium
from motif.base import Base
from motif.tradeoff.spec import Spec
from motif.tradeoff.sweep import tradeoff


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    path, why = chromium()
    if not path:
        pytest.skip(why)
    running = Browser(path, tmp_path_factory.mktemp("chromium"))
    yield running
    running.close()


@pytest.mark.parametrize(("width", "dark"), [(1200, False), (420, True)])
def test_the_report_is_whole_and_asks_nobody(
    browser: Browser,
    tmp_path: Path,
    spec: Callable[..., Spec],
    raw: Any,
    tiny_base: Base,
    width: int,
    dark: bool,
) -> None:
    settings = {"steps": 2, "batch_size": 2, "prior": "none", "resolution": 16, "lr": 1e38}
    broken = {"name": "<b>broken", "learn": "dreambooth", "settings": settings}
    tradeoff(spec(methods=[*raw()["methods"], broken]), tmp_path / "out", base=tiny_base)
    alone = tmp_path / "elsewhere" / "report.html"
    alone.parent.mkdir()
    (tmp_path / "out" / "report.html").rename(alone)  # without what lay beside it
    page = browser.person(width=width, dark=dark)
    page.call("Network.enable")
    browser.events.clear()
    page.open(alone.as_uri())
    said = page.run("document.body.innerText")
    for words in ("custom-diffusion steps 2", "the base", "What failed", "<b>broken"):
        assert words in said, words
    assert page.run("[...document.images].length") >= 1
    assert page.run("[...document.images].every(i => i.complete && i.naturalWidth > 0 && i.alt)")
    assert page.run("[...document.querySelectorAll('svg')].every(s => s.getBoundingClientRect().width > 100)")
    assert page.run("document.querySelectorAll('svg').length") >= 1
    assert page.run("document.documentElement.scrollWidth") <= width, "it is wider than the window"
    assert asked(browser) == {"file", "data"} or asked(browser) == {"file"}
    assert not [event for event in browser.events if event.get("method") == "Runtime.exceptionThrown"]
    page.screenshot(tmp_path / "report.png")


def asked(browser: Browser) -> set[str]:
    """The kinds of addresses that the page asked for."""
    found = [
        event["params"] for event in browser.events if event.get("method") == "Network.requestWillBeSent"
    ]
    return {each["request"]["url"].partition(":")[0] for each in found}
