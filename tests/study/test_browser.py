"""The page itself, in headless Chromium: a whole study, by mouse and by keys, and what must not count."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from studies import Rater, Server, two_sides

from browser import Browser, Page, chromium
from motif.study import make, score
from motif.study.sheet import Study

pytest.importorskip("fastapi", reason="pip install 'motif[study]'")
NEXT = "document.getElementById('count').textContent.startsWith('Question {} ') && !shown.busy"
READY = " && performance.now() - shown.since > SETTLE"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    path, why = chromium()
    if not path:
        pytest.skip(why)
    running = Browser(path, tmp_path_factory.mktemp("chromium"))
    yield running
    running.close()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    a, b, photos = two_sides(tmp_path, prompts=2, seeds=1)
    make(a, b, tmp_path / "study", refs=photos, checks=2)
    running = Server(tmp_path / "study")
    yield running
    if running.process.poll() is None:
        running.stop()


def begin(browser: Browser, server: Server) -> Page:
    page = browser.person()
    page.open(server.address)
    page.wait("!document.getElementById('start').hidden")
    page.click("#begin")
    page.wait(NEXT.format(1) + READY)
    return page


def go(page: Page, number: int) -> None:
    """Wait until a question can be answered."""
    page.wait(NEXT.format(number) + READY)


def test_a_whole_study_is_clicked_through_and_every_click_is_kept(browser: Browser, server: Server) -> None:
    page, study = begin(browser, server), Study.load(server.folder)
    turns = study.turns(0)
    for number, turn in enumerate(turns, 1):
        go(page, number)
        assert page.run("document.getElementById('question').textContent") == turn.question.text
        assert page.run("!document.getElementById('prompt').hidden") == ("prompt" in turn.question.shows)
        assert page.run("document.querySelectorAll('#photos img').length") == 4 * (
            "references" in turn.question.shows
        )
        assert page.run("[...document.images].every(i => i.hidden || !i.src || i.naturalWidth > 0)")
        right = "left" if turn.right == "torn" else "right"
        page.click(f"#{right}")
    page.wait("!document.getElementById('end').hidden")
    assert [row["turn"] for row in server.rows()] == [turn.id for turn in turns]
    found = score(server.folder)
    assert found.raters == found.finished == 1 and found.failed == 0
    assert {p.question: p.answers for p in found.preferences} == {"text": 2, "image": 2}


def test_two_raters_at_once_and_one_reloads_in_the_middle(browser: Browser, server: Server) -> None:
    one, other = begin(browser, server), begin(browser, server)
    total = len(Study.load(server.folder).turns(0))
    for number in range(1, total + 1):
        go(one, number)
        go(other, number)
        if number == 3:
            one.open(server.address)  # a reload, without the first page's greeting
            go(one, number)
        one.press("ArrowLeft")
        other.press("2")
    for page in (one, other):
        page.wait("!document.getElementById('end').hidden")
    rows = server.rows()
    assert Counter(row["rater"] for row in rows) == {0: total, 1: total}
    assert all((row["picked"] == row["left"]) == (row["rater"] == 0) for row in rows)


def test_a_double_click_and_a_held_key_count_once(browser: Browser, server: Server) -> None:
    page = begin(browser, server)
    page.click("#left", times=2)
    page.wait(NEXT.format(2))
    page.click("#left")  # the hand still on the button, sooner than anybody looks
    time.sleep(0.1)
    assert page.run("document.getElementById('count').textContent").startswith("Question 2 ")
    go(page, 2)
    page.press("ArrowRight", held=True)
    go(page, 3)
    time.sleep(0.2)
    assert [row["picked"] == row["left"] for row in server.rows()] == [True, False]


def test_tab_and_enter_are_enough(browser: Browser, server: Server) -> None:
    page = browser.person()
    page.open(server.address)
    page.wait("!document.getElementById('start').hidden")
    page.press("Tab")
    page.press("Enter")
    go(page, 1)
    for number, presses in ((1, 1), (2, 2)):
        go(page, number)
        for _ in range(presses):
            page.press("Tab")
        assert page.run("document.activeElement.id") == ("left", "right")[presses - 1]
        page.press("Enter")
    go(page, 3)
    assert [row["picked"] == row["left"] for row in server.rows()] == [True, False]


def test_a_killed_server_comes_back_and_the_page_goes_on(browser: Browser, server: Server) -> None:
    page = begin(browser, server)
    page.press("ArrowLeft")
    go(page, 2)
    server.stop(kill=True)
    page.press("ArrowRight")
    page.wait("!document.getElementById('trouble').hidden")
    assert "cannot be reached" in page.run("document.getElementById('what').textContent")
    again = Server(server.folder, port=server.port)
    try:
        page.click("#again")
        go(page, 3)
        assert page.run("document.getElementById('trouble').hidden")
        assert [row["picked"] == row["left"] for row in again.rows()] == [True, False]
    finally:
        again.stop()


def test_the_page_forges_nothing_even_if_asked_to(browser: Browser, server: Server) -> None:
    page, stranger = begin(browser, server), begin(browser, server)
    theirs = stranger.run("shown.turn")

    def send(body: object) -> int:
        return page.run(f"fetch('/answers', {{method: 'POST', headers: {{'Content-Type': 'application/json'}},"
                        f" body: {json.dumps(json.dumps(body))}}}).then(reply => reply.status)")  # fmt: skip

    own = page.run("shown.turn")
    assert send({"turn": theirs, "side": "left"}) == 404
    assert send({"turn": own, "side": "middle"}) == 404
    assert send({"turn": own, "side": "left", "rater": 1}) == 422
    assert page.run("document.cookie") == ""
    assert Rater(server.port).choose(own)[0] == 401
    assert server.rows() == []


def test_the_page_can_be_used_by_everybody(browser: Browser, server: Server) -> None:
    page = begin(browser, server)
    assert page.run("document.documentElement.lang") == "en"
    assert page.run("[...document.images].every(i => i.alt)")
    assert page.run("[...document.querySelectorAll('button')].every(b => (b.textContent.trim()))")
    for width, height in ((1200, 860), (1366, 640), (390, 780)):
        page.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )
        assert page.run("document.documentElement.scrollWidth <= innerWidth")
        assert page.run(
            "[...document.querySelectorAll('#choices button')].every(b => { const [own, picture] = "
            "[b, b.querySelector('img')].map(e => e.getBoundingClientRect()); return own.bottom <= innerHeight && "
            "picture.left > own.left && picture.right < own.right && picture.width > 100; })"
        )
