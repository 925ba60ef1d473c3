"""The server, without a browser: sessions, forged answers, what it tells, and a kill; and the three commands."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from studies import Rater, Server, two_sides

from motif.cli import main
from motif.errors import InputError
from motif.study import make
from motif.study.serve import serve
from motif.study.sheet import ANSWERS, PICTURES, Study

pytest.importorskip("fastapi", reason="pip install 'motif[study]'")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    a, b, photos = two_sides(tmp_path, prompts=2, seeds=2)
    make(a, b, tmp_path / "study", refs=photos, checks=2)
    return tmp_path / "study"


@pytest.fixture
def server(folder: Path) -> Iterator[Server]:
    running = Server(folder)
    yield running
    if running.process.poll() is None:
        running.stop()


def test_a_forged_answer_is_refused_and_leaves_nothing(server: Server) -> None:
    one, other = Rater(server.port), Rater(server.port)
    mine, theirs = one.enter()["turn"]["id"], other.enter()["turn"]["id"]
    later = Study.load(server.folder).turns(0)[3].id
    name = one.cookie.partition("=")[0]
    for rater, body, status in (
        (Rater(server.port), {"turn": mine, "side": "left"}, 401),
        (Rater(server.port, f"{name}=0"), {"turn": mine, "side": "left"}, 401),
        (one, {"turn": theirs, "side": "left"}, 404),
        (one, {"turn": "0" * 16, "side": "left"}, 404),
        (one, {"turn": mine, "side": "a"}, 404),
        (one, {"turn": later, "side": "left"}, 409),
        (one, {"turn": mine}, 422),
        (one, {"turn": mine, "side": "left", "rater": 1}, 422),
        (one, {"turn": mine, "side": 1}, 422),
        (one, {"turn": "x" * 10**6, "side": "left"}, 422),
        (one, "turn=1", 422),
    ):
        assert rater.ask("POST", "/answers", body)[0] == status, (body, status)
    assert (
        one.ask("POST", "/answers", json.dumps({"turn": mine, "side": "left"}), Content_Type="text/plain")[0]
        == 422
    )
    assert one.ask("GET", "/state", Host="evil.example")[0] == 400
    assert server.rows() == []
    assert one.choose(mine)[0] == 200 and len(server.rows()) == 1


def test_the_same_choice_many_times_at_once_counts_once(server: Server) -> None:
    rater = Rater(server.port)
    turn = rater.enter()["turn"]["id"]
    with ThreadPoolExecutor(8) as pool:
        sent = [
            pool.submit(Rater(server.port, rater.cookie).choose, turn, side) for side in ("left", "right") * 8
        ]
        assert {reply.result()[0] for reply in sent} == {200}
    assert len(server.rows()) == 1


def test_raters_at_once_have_a_number_each_and_lose_nothing(server: Server) -> None:
    def whole(_: int) -> dict[str, object]:
        rater = Rater(server.port)
        return rater.finish(rater.enter())

    with ThreadPoolExecutor(6) as pool:
        done = list(pool.map(whole, range(6)))
    total = len(Study.load(server.folder).turns(0))
    assert all(state == {"done": total, "total": total, "turn": None} for state in done)
    rows = server.rows()
    assert len(rows) == 6 * total and {row["rater"] for row in rows} == set(range(6))


def test_nothing_that_is_sent_tells_whose_picture_it_is(server: Server) -> None:
    rater, study = Rater(server.port), Study.load(server.folder)
    state = rater.enter()
    told = json.dumps(state)
    assert not any(word in told for word in (*study.names, "torn", "check", str(server.folder)))
    assert set(state["turn"]) == {"id", "question", "prompt", "references", "source", "left", "right"}
    assert "HttpOnly" in rater.given and "SameSite=strict" in rater.given
    for path in ("/study.json", "/answers.jsonl", "/pictures/../study.json", "/pictures/..%2Fstudy.json",
                 "/pictures/study.json", "/docs", "/openapi.json", "/page.py"):  # fmt: skip
        assert rater.ask("GET", path)[0] == 404, path
    status, picture = rater.ask("GET", state["turn"]["left"])
    assert (
        status == 200
        and picture == (server.folder / PICTURES / state["turn"]["left"].split("/")[-1]).read_bytes()
    )
    for path in ("/", "/page.css", "/page.js"):
        assert (
            rater.ask("GET", path)[0] == 200
            and "default-src 'none'" in rater.headers["Content-Security-Policy"]
        )


def test_a_kill_loses_no_answer_and_the_rater_goes_on(server: Server) -> None:
    rater = Rater(server.port)
    state = rater.enter()
    for _ in range(3):
        _, state = rater.choose(state["turn"]["id"])
    server.stop(kill=True)
    with (server.folder / ANSWERS).open("ab") as file:
        file.write(b'{"rater": 0, "turn": "')
    again = Server(server.folder)
    try:
        returning = Rater(again.port, rater.cookie)
        assert returning.ask("GET", "/state") == (200, state) and returning.enter() == state
        assert returning.finish(state)["turn"] is None
    finally:
        said = again.stop()
    total = len(Study.load(server.folder).turns(0))
    assert "cut short" in said and f"{total} answers of 1 raters are kept" in said
    assert len(again.rows()) == total


def test_what_cannot_be_served_is_said_first(folder: Path, server: Server) -> None:
    with pytest.raises(InputError, match="served already"):
        serve(folder, port=0)
    with pytest.raises(InputError, match="no study"):
        serve(folder / "pictures", port=0)
    server.stop()
    other = Server(folder)
    try:
        with pytest.raises(InputError, match="served already"):
            serve(folder, port=other.port)
    finally:
        other.stop()
    with pytest.raises(InputError, match=r"cannot listen at .*choose another --port"):
        serve(folder, port=99999)
    next((folder / PICTURES).iterdir()).unlink()
    with pytest.raises(InputError, match="picture is gone"):
        serve(folder, port=0)


def test_the_commands_make_and_score(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a, b, photos = two_sides(tmp_path, prompts=2, seeds=1)
    study = tmp_path / "out" / "study"
    words = ["study", "make", str(a), str(b), "--refs", str(photos), "-o", str(study), "--question", "both"]
    assert main([*words, "--per-rater", "1", "--json"]) == 0
    told = capsys.readouterr()
    assert json.loads(told.out) == {"study": str(study), "pairs": 2, "questions": ["both"], "per_rater": 4,
                                    "names": ["ours", "theirs"]}  # fmt: skip
    assert "motif study serve" in told.err
    assert main(words) == 2 and "holds a study already" in capsys.readouterr().err
    assert main(["study", "score", str(study)]) == 2 and "nobody has answered" in capsys.readouterr().err
    loaded = Study.load(study)
    rows = [{"rater": 0, "session": "x", "at": ""}]
    rows += [{"rater": 0, "turn": t.id, "question": "both", "pair": t.pair.id, "left": t.left, "right": t.right,
              "picked": "a", "at": ""} for t in loaded.turns(0)]  # fmt: skip
    (study / ANSWERS).write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert main(["study", "score", str(study)]) == 0
    table = capsys.readouterr().out
    assert "prefer ours" in table and "100.0%" in table and "1 of 1" in table and "1 raters count" in table
    assert main(["study", "score", str(study), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["preferences"][0]["share"] == 1


def test_only_serving_needs_the_extra(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    for name in ("fastapi", "motif.study.app"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(InputError, match=r"pip install 'motif\[study\]'"):
        serve(folder, port=0)
