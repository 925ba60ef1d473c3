"""The rows, the turns, and the table they become; without a model: what a process tells is made up here."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from motif import methods
from motif.bench import run
from motif.bench.plan import PEERS, rows
from motif.bench.run import bench
from motif.cli import main
from motif.errors import InputError

ON = {"device": "cpu", "threads": 1, "precision": "float32", "size": 64}


@pytest.fixture
def told(
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[[Callable[[dict[str, Any]], dict[str, Any]]], list[dict[str, Any]]]:
    """Put what a process would tell in its place, and keep what it was asked."""

    def put(answer: Callable[[dict[str, Any]], dict[str, Any]]) -> list[dict[str, Any]]:
        asked: list[dict[str, Any]] = []

        def process(spec: dict[str, Any]) -> dict[str, Any]:
            asked.append(spec)
            return answer(spec)

        monkeypatch.setattr(run, "process", process)
        return asked

    return put


def turn(spec: dict[str, Any], seconds: float = 2.0, rate: float | None = None) -> dict[str, Any]:
    return {"seconds": seconds, "rate": rate, "evaluations": 8, "peak": 3 * 10**8, "bytes": None, "on": ON}


def test_every_method_has_a_row_and_every_peer_is_one() -> None:
    for quick in (False, True):
        planned = rows(quick=quick)
        names = [row.name for row in planned]
        assert len(set(names)) == len(names)
        for verb in ("learn", "invert", "edit"):
            assert {r.method for r in planned if r.verb == verb and not r.grows} == set(methods.table(verb))
        assert {"plain", "dci"} == {r.method for r in planned if r.verb == "sample" and not r.grows}
        assert {(r.verb, r.method) for r in planned if r.peer} == set(PEERS)
        assert {r.grows for r in planned if r.grows} == {
            "batch_size",
            "n",
            "steps",
            "scale",
            "worn",
            "concepts",
        }
    assert {row.verb for row in rows(only=["merge", "encode"])} == {"merge", "encode"}
    assert all(row.grows for row in rows(only=["scaling"]))
    with pytest.raises(InputError, match="no rows mearge"):
        rows(only=["mearge"])


def test_sides_take_turns_and_the_ratio_is_of_each_turns_pair(told: Any) -> None:
    seconds = iter([1.0, 2.0, 2.0, 8.0, 4.0, 12.0])  # ours, plain, ours, plain ...
    asked = told(lambda spec: turn(spec, next(seconds)))
    report = bench(only=["merge"], turns=3)
    assert [spec["side"] for spec in asked] == ["motif", "plain"] * 3
    (one,) = report.rows
    assert one.ratios() == [2.0, 4.0, 3.0]
    assert one.middle("seconds") == 2.0 and one.middle("seconds", plain=True) == 8.0
    assert "| merge | 2 |  | 8 | 300 |  | 8 |  | 8 | 3.00x (2.00 to 4.00) | 300 |" in report.text()
    assert json.loads(json.dumps(report.data()))["rows"][0]["ratios"] == [2.0, 4.0, 3.0]


def test_learning_is_compared_by_its_steps(told: Any) -> None:
    told(
        lambda spec: turn(
            spec, 9.0 if spec["side"] == "motif" else 1.0, 6.0 if spec["side"] == "motif" else 4.0
        )
    )
    report = bench(only=["learn"], quick=True)
    (compared,) = [one for one in report.rows if one.plain]
    assert compared.row.method == "custom-diffusion" and compared.ratios() == [1.5]


def test_a_row_that_fails_is_named_and_the_rest_goes_on(told: Any, caplog: pytest.LogCaptureFixture) -> None:
    def answer(spec: dict[str, Any]) -> dict[str, Any]:
        if spec["row"]["method"] == "dci" or spec["side"] == "plain":
            return {"error": "no room"}
        return turn(spec)

    told(answer)
    report = bench(only=["sample", "encode"], quick=True)
    text = report.text()
    assert "Not measured: sample dci: no room" in text and "| sample dci |" not in text
    assert "| encode |" in text and "| sample plain |" in text
    assert "sample dci was not measured: no room" in caplog.text
    assert "the plain side of sample plain was not measured: no room" in caplog.text
    told(lambda spec: {"error": "no base"})
    with pytest.raises(InputError, match="nothing was measured; encode: no base"):
        bench(only=["encode"])


def test_columns_are_of_speed_or_memory(told: Any) -> None:
    told(lambda spec: turn(spec))
    report = bench(only=["merge"], turns=1)
    heads = {what: report.text(what).splitlines()[3] for what in ("speed", "memory", "all")}
    assert "seconds" in heads["speed"] and "peak" not in heads["speed"]
    assert "peak" in heads["memory"] and "file" in heads["memory"] and "seconds" not in heads["memory"]
    assert all(word in heads["all"] for word in ("seconds", "evaluations", "ratio", "plain: peak"))
    for lines in (report.text(what).splitlines() for what in heads):
        table = [line for line in lines if line.startswith("|")]
        assert len({line.count("|") for line in table}) == 1


def test_the_report_says_on_what_it_was_made(told: Any) -> None:
    told(lambda spec: turn(spec))
    report = bench(only=["encode"], turns=2, threads=1)
    assert report.on["processor"] and report.on["memory"] > 10**8 and report.on["versions"]["torch"]
    head = report.text().splitlines()[:2]
    assert "2 turns each" in head[0] and "1 threads" in head[0] and report.on["versions"]["torch"] in head[1]


def test_the_command_writes_the_table_and_its_numbers(
    told: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = told(lambda spec: turn(spec))
    words = ["bench", "--only", "encode", "--turns", "1", "--threads", "1", "--device", "cpu"]
    assert main([*words, "-o", str(tmp_path / "t.md")]) == 0
    out = capsys.readouterr()
    assert (tmp_path / "t.md").read_text() == out.out and "1 of 1: encode" in out.err
    assert json.loads((tmp_path / "t.json").read_text())["rows"][0]["name"] == "encode"
    assert asked[0]["threads"] == 1 and asked[0]["device"] == "cpu" and asked[0]["base"] == "pocket"
    assert main([*words, "speed", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["turns"] == 1
    assert main([*words, "-o", str(tmp_path / "t.txt")]) == 2 and "name it t.md" in capsys.readouterr().err
    assert main(["bench", "--only", "encod"]) == 2
    assert main(["bench", "--turns", "0"]) == 2


def test_a_process_that_dies_is_an_error_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    def dies(command: list[str], **_: Any) -> Any:
        return subprocess.CompletedProcess(command, -9, stdout=given[0], stderr=given[1])

    monkeypatch.setattr(run.subprocess, "run", dies)
    given = ("", "Traceback\nRuntimeError: boom\n")
    assert run.process({"threads": 0}) == {"error": "RuntimeError: boom"}
    given = ("half a li", "")
    assert run.process({"threads": 0}) == {"error": "the process ended with -9"}
    given = ('noise\n{"seconds": 1}\n', "")
    assert run.process({"threads": 0}) == {"seconds": 1}


def test_the_table_is_made_without_torch() -> None:
    code = "import sys, motif.bench, motif.cli.bench; assert not {'torch', 'numpy'} & set(sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
