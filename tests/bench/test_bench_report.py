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
from motif.bench.plan import ALONE, PEERS, rows
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


def test_every_method_has_a_row_and_every_row_a_peer_or_a_reason() -> None:
    for quick in (False, True):
        planned = rows(quick=quick)
        names = [row.name for row in planned]
        assert len(set(names)) == len(names)
        for verb in ("learn", "invert", "edit"):
            assert {r.method for r in planned if r.verb == verb and not r.grows} == set(methods.table(verb))
        assert {"plain", "dci"} == {r.method for r in planned if r.verb == "sample" and not r.grows}
        assert {(r.verb, r.method) for r in planned if r.peer} == set(PEERS)
        assert {(r.verb, r.method) for r in planned if r.alone} == set(ALONE)
        assert [r.name for r in planned if not r.grows and bool(r.peer) == bool(r.alone)] == []
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


def test_a_row_without_a_peer_says_so_and_why(told: Any) -> None:
    told(turn)
    report = bench(only=["edit"], turns=1)
    lines = report.text().splitlines()
    assert next(line for line in lines if line.startswith("| edit style-transfer")).split("|")[-3] == " none "
    (why,) = [line for line in lines if line.startswith("No peer: ")]
    assert why == f"No peer: edit style-transfer: {ALONE['edit', 'style-transfer']}."
    assert {row["name"] for row in report.data()["rows"] if row["alone"]} == {"edit style-transfer"}


def test_learning_is_compared_by_its_steps(told: Any) -> None:
    told(
        lambda spec: turn(
            spec, 9.0 if spec["side"] == "motif" else 1.0, 6.0 if spec["side"] == "motif" else 4.0
        )
    )
    report = bench(only=["learn"], quick=True)
    assert {one.row.method for one in report.rows if one.plain} == set(methods.table("learn"))
    assert all(one.ratios() == [1.5] for one in report.rows)


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
    assert "Plain sample plain: not measured: no room" in text and "Plain sample dci" not in text
    assert [row["lost"] for row in report.data()["rows"]] == ["no room", "no room", ""]
    assert "sample dci was not measured: no room" in caplog.text
    assert "the plain side of sample plain was not measured: no room" in caplog.text
    told(lambda spec: {"error": "no base"})
    with pytest.raises(InputError, match="nothing was measured: no base"):
        bench(only=["encode"])


def test_what_is_wrong_with_every_row_is_told_once(told: Any, caplog: pytest.LogCaptureFixture) -> None:
    """No such base: the other rows' processes would say the same, and two of them have."""
    asked = told(lambda spec: {"error": "no GPU"})
    with pytest.raises(InputError, match=r"^nothing was measured: no GPU$"):
        bench()
    assert len(asked) == 2 and not caplog.records
    told(lambda spec: {"error": "no room"} if spec["row"]["method"] == "ico" else turn(spec))
    assert len(bench(only=["learn"], quick=True).rows) > 2
    assert [record.getMessage() for record in caplog.records] == ["learn ico was not measured: no room"]


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


def test_the_table_says_what_a_peak_is_of(told: Any) -> None:
    told(lambda spec: {**turn(spec), "peak_of": "the call"})
    text = bench(only=["merge"], turns=1).text()
    assert "while the timed call ran" in text and "are put away before" in text and "for ever" not in text
    told(lambda spec: {**turn(spec), "peak_of": "the process" if spec["side"] == "plain" else "the call"})
    assert "keeps a process's peak for ever" in bench(only=["merge"], turns=1).text()


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


KILLED = """
import json, os, signal, sys
from pathlib import Path
from motif.bench import run
from motif.bench.plan import PEERS
from motif.bench.run import bench

PEERS.pop(("encode", "encode"))  # a row of one side beside one of two
count = Path(sys.argv[2])

def process(spec):
    made = int(count.read_text() or 0) + 1
    count.write_text(str(made))
    if made == int(sys.argv[3]):
        os.kill(os.getpid(), signal.SIGKILL)
    on = {"device": "cpu", "threads": 1, "precision": "float32", "size": 64}
    return {"seconds": float(made), "rate": None, "evaluations": 8, "peak": 3 * 10**8, "bytes": None, "on": on}

run.process = process
report = bench(only=["merge", "encode"], turns=2, kept=sys.argv[1])
print(json.dumps([row.data() for row in report.rows]))
"""


@pytest.mark.parametrize("last", [1, 2, 3, 4, 6])
def test_killed_at_any_turn_it_goes_on_with_the_next(tmp_path: Path, last: int) -> None:
    """kill -9 before turn `last`'s process ends: what was whole is not measured again, half a turn is."""
    kept, count = tmp_path / "sub" / "t.rows.jsonl", tmp_path / "count"
    count.write_text("")
    command = [sys.executable, "-c", KILLED, str(kept), str(count)]
    assert subprocess.run([*command, str(last)]).returncode == -9
    if kept.exists():
        kept.write_bytes(kept.read_bytes() + b'{"for": "half a li')
    done = subprocess.run([*command, "0"], capture_output=True, text=True, check=True)
    merge, encode = json.loads(done.stdout)
    seconds = [
        [turn["seconds"] for turn in side] for side in (merge["motif"], merge["plain"], encode["motif"])
    ]
    wanted = {1: [[2, 4], [3, 5], [6, 7]], 2: [[3, 5], [4, 6], [7, 8]], 3: [[1, 4], [2, 5], [6, 7]],
              4: [[1, 5], [2, 6], [7, 8]], 6: [[1, 3], [2, 4], [5, 7]]}  # fmt: skip
    assert seconds == wanted[last]
    again = subprocess.run([*command, "0"], capture_output=True, text=True, check=True)
    assert again.stdout == done.stdout, "a whole one is not measured again"


def test_what_is_kept_is_of_these_options_this_machine_and_this_code(
    told: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(PEERS, ("encode", "encode"))
    asked, kept = told(lambda spec: turn(spec)), tmp_path / "t.rows.jsonl"
    from motif.bench import kept as module

    def measured(**how: Any) -> int:
        before = len(asked)
        bench(only=["encode"], kept=kept, **how)
        return len(asked) - before

    assert [measured(turns=2), measured(turns=2), measured(turns=3)] == [2, 0, 1]
    assert [measured(turns=1, threads=2), measured(turns=1, device="cpu"), measured(turns=1, fresh=True)] == [
        1,
        1,
        1,
    ]
    assert measured(turns=1) == 0
    monkeypatch.setattr(module, "here", lambda: ["another machine"])
    assert measured(turns=1) == 1
    kept.write_text("my notes\nof last week\n")
    with pytest.raises(InputError, match="somebody else's"):
        measured()
    assert kept.read_text().startswith("my notes")


def test_a_failed_row_is_tried_again_and_a_whole_table_leaves_nothing(
    told: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["bench", "--only", "encode", "--only", "merge", "--quick", "-o", str(tmp_path / "t.md")]
    told(lambda spec: {"error": "no room"} if spec["row"]["verb"] == "merge" else turn(spec))
    assert main(words) == 0
    assert (tmp_path / "t.rows.jsonl").is_file() and "Not measured: merge: no room" in capsys.readouterr().out
    asked = told(lambda spec: turn(spec))
    assert main(words) == 0
    assert [spec["side"] for spec in asked] == [
        "motif",
        "plain",
    ] and "2 of 2: merge" not in capsys.readouterr().out
    assert sorted(path.name for path in tmp_path.iterdir()) == ["t.json", "t.md"]
    monkeypatch.setenv("MOTIF_CACHE", str(tmp_path / "cache"))

    def stopped(spec: dict[str, Any]) -> dict[str, Any]:
        if spec["row"]["verb"] == "merge":
            return turn(spec)
        raise KeyboardInterrupt

    told(stopped)
    assert main(words[:-2]) == 130
    assert "1 of 2 rows are measured and kept in" in (told_so := capsys.readouterr().err)
    assert "goes on" in told_so and (tmp_path / "cache" / "bench" / "rows.jsonl").is_file()
