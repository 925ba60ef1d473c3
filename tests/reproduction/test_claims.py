"""The papers' claims as data: complete, decided by rule from stored results; and settings files that commands take."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections import defaultdict
from collections.abc import Callable, Mapping
from datetime import date
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import click
import pytest

from motif.cli.app import app
from motif.measure.readers.dreambench import dreambench_prompts
from motif.study.questions import QUESTIONS, asked
from motif.tradeoff.spec import read_spec
from motif.tradeoff.ways import read_way

ROOT = Path(__file__).parents[2]
SD14 = sorted((ROOT / "reproduction" / "sd14").glob("*.toml"))
SPECS = [
    ROOT / "reproduction" / "quick.toml",
    *(p for p in SD14 if "methods" in tomllib.loads(p.read_text())),
]
COMMANDS = {"custom-diffusion": "learn", "textual-inversion": "learn", "dreambooth": "learn", "fine-tune-all": "learn",
            "custom-edit": "learn", "ico": "learn", "elite": "learn"}  # fmt: skip


sys.path[:0] = [str(ROOT / "bench"), str(ROOT / "reproduction")]
page: Any = importlib.import_module("reproduction")
results: Any = importlib.import_module("results")
pie_bench: Any = importlib.import_module("pie_bench")
protocol: Any = importlib.import_module("protocol")


def rows(**found: dict[str, Any]) -> Callable[[str], Any]:
    told = {row: {m: results.Value(*v) for m, v in metrics.items()} for row, metrics in found.items()}
    return lambda name: told


def claim(**check: Any) -> dict[str, Any]:
    return {"where": "", "says": "", "paper": "", "results": "methods", "check": [check]}


def test_every_claim_is_read_and_every_paper_is_there() -> None:
    papers = page.papers()
    assert len(papers) == 5 and all(len(paper["claims"]) > 8 for paper in papers)
    for paper in papers:
        for each in paper["claims"]:
            why = each.get("cannot") or each.get("unbuilt")
            assert each["says"] and each["paper"] and (why or each["check"])


@pytest.mark.parametrize(
    ("name", "numbers"),
    [
        (
            "custom_diffusion",
            {"figure": [1, 3, 5, 6, 7, 8, 9, 10, 11, 14, 15, 16, 19, 20, 21], "table": range(1, 9)},
        ),
        ("custom_edit", {"figure": [1, 3, 4, *"ABCDEFG"], "table": []}),
        ("ico_dci", {"figure": [1, 2, 5, 6, 7, 8, 9, 10, 11, 12], "table": [1]}),
        ("elite", {"figure": [1, 4, 5, 6, 7, 8, 9, 10, 12, 13, 14, 15, 16, 17], "table": range(1, 5)}),
        ("stylediffusion", {"figure": [2, 3, 4, *range(7, 20)], "table": [2, 3]}),
    ],
)
def test_no_figure_or_table_with_a_claim_is_left_out(name: str, numbers: dict[str, Any]) -> None:
    """Methods' drawings and settings' tables (StyleDiffusion's table 1, ELITE's 5) claim nothing."""
    claims = tomllib.loads((ROOT / "reproduction" / f"{name}.toml").read_text())["claims"]
    there = {(kind, number) for each in claims for kind, number in named(each["where"])}
    assert {(kind, str(n)) for kind, wanted in numbers.items() for n in wanted} <= there


def named(where: str) -> list[tuple[str, str]]:
    """ "Figures 7, 19, table 1" -> figure 7, figure 19, table 1."""
    kind, found = "", list[tuple[str, str]]()
    for word in re.findall(r"\w+", where):
        if word.lower().rstrip("s") in ("figure", "table"):
            kind = word.lower().rstrip("s")
        elif word.isdecimal() or len(word) == 1:
            found.append((kind, word))
    return found


@pytest.mark.parametrize(
    ("a", "b", "check", "word"),
    [
        ((1.0, 0.1), (0.5, 0.1), {"more": "a", "less": "b"}, "holds"),
        ((0.5, 0.1), (1.0, 0.1), {"more": "a", "less": "b"}, "**does not hold**"),
        ((1.0, 0.3), (0.5, 0.3), {"more": "a", "less": "b"}, "undecided"),
        ((1.0, 0.01), (0.98, 0.01), {"same": ["a", "b"], "within": 0.05}, "holds"),
        ((1.0, 0.3), (0.5, 0.3), {"same": ["a", "b"], "within": 0.05}, "undecided"),
        ((1.0, 0.3), (1.0, 0.3), {"same": ["a", "b"], "within": 0.05}, "undecided"),
        ((1.0, 0.1), (0.5, 0.1), {"same": ["a", "b"], "within": 0.05}, "**does not hold**"),
        ((1.0, 0.1), (0.5, 0.1), {"row": "a", "above": 0.5}, "holds"),
        ((1.0, 0.1), (0.5, 0.1), {"row": "a", "below": 0.5}, "**does not hold**"),
        ((1.0, None), (0.5, None), {"more": "a", "less": "b", "by": 2}, "holds"),
        ((0.9, None), (0.5, None), {"more": "a", "less": "b", "by": 2}, "**does not hold**"),
        ((2.02, 1.5), (1.0, 0.6), {"more": "a", "less": "b", "by": 2}, "undecided"),
        ((9.0, 0.9), (1.0, 0.1), {"more": "a", "less": "b", "by": 2}, "holds"),
        ((1.0, 0.1), (1.0, 0.1), {"more": "a", "less": "b", "by": 2}, "**does not hold**"),
        ((1.0, 0.1), (0.5, 0.1), {"more": "a", "less": "c"}, "not measured yet"),
    ],
)
def test_a_verdict_is_the_rule(a: Any, b: Any, check: dict[str, Any], word: str) -> None:
    found = page.verdict(claim(metric="m", **check), rows(a={"m": a}, b={"m": b}))
    assert found.word == word


def test_one_that_fails_fails_the_claim_and_one_that_is_missing_is_no_success() -> None:
    both = claim(metric="m", more="a", less="b")
    results = rows(a={"m": (1.0, 0.01)}, b={"m": (0.5, 0.01)})
    for more, word in (
        (("b", "a"), "**does not hold**"),
        (("a", "c"), "not measured yet"),
        (("a", "a"), "undecided"),
    ):
        more_check = {"metric": "m", "more": more[0], "less": more[1]}
        assert page.verdict({**both, "check": [*both["check"], more_check]}, results).word == word
    missing = page.verdict(both, lambda name: None)
    assert missing.word == "not measured yet" and missing.told == ["`python bench/methods.py`"]
    assert page.verdict({**both, "cannot": "no"}, results).told == ["no"]
    assert page.verdict({**both, "unbuilt": "soon"}, results) == page.Verdict("not built", ["soon"])


def test_what_is_not_tested_of_a_claim_is_told_beside_its_verdict() -> None:
    paper = {"paper": "P", "source": "S", "note": "N", "commands": {"a": "motif doctor"}}
    each = claim(metric="m", more="a", less="b")
    numbers = rows(a={"m": (1.0, 0.01)}, b={"m": (0.5, 0.01)})
    whole, part = (
        page.page([{**paper, "claims": [one]}], numbers) for one in (each, {**each, "part": "the colours"})
    )
    assert "| holds |" in whole and "not tested" not in whole.split("## P")[1]
    assert "| holds, of a part |" in part and "not tested: the colours" in part
    assert tallied(whole)["P"]["holds"] == "1" and tallied(whole)["P"]["holds, of a part"] == "0"
    assert tallied(part)["P"]["holds"] == "0" and tallied(part)["P"]["holds, of a part"] == "1"


def tallied(text: str) -> dict[str, dict[str, str]]:
    """{paper: {verdict: how many}} of a page's summary."""
    head, _, *lines = next(part for part in text.split("\n\n") if part.startswith("| paper |")).splitlines()
    words = [cell.strip() for cell in head.strip("|").split("|")]
    rows = ([cell.strip() for cell in line.strip("|").split("|")] for line in lines)
    return {name: dict(zip(words[1:], counts, strict=True)) for name, *counts in rows}


def test_what_no_paper_claims_is_told_as_ours_and_counted_nowhere() -> None:
    paper = {"paper": "P", "source": "S", "note": "N", "commands": {"a": "motif doctor"}}
    each = claim(metric="m", more="a", less="b") | {"says": "It is more"}
    numbers = rows(a={"m": (1.0, 0.01)}, b={"m": (0.5, 0.01)})
    text = page.page([{**paper, "claims": [each, {**each, "own": True}]}], numbers)
    theirs, ours = (line for line in text.splitlines() if "It is more" in line)
    assert page.OURS in ours and page.OURS not in theirs and "| holds |" in ours
    assert tallied(text)["P"]["holds"] == "1" and sum(map(int, tallied(text)["P"].values())) == 1


def test_every_claim_of_a_paper_is_counted_once() -> None:
    text = (ROOT / "docs" / "reproduction.md").read_text(encoding="utf-8")
    for paper in page.papers():
        theirs = [each for each in paper["claims"] if "own" not in each]
        counts = tallied(text)[paper["paper"]]
        assert sum(map(int, counts.values())) == len(theirs)
        parts = [e for e in theirs if "part" in e and page.verdict(e, results.stored).word != page.MISSING]
        assert sum(int(count) for word, count in counts.items() if word.endswith(page.PART)) == len(parts)


def test_what_says_that_it_is_ours_is_ours() -> None:
    """A measure or a control of ours, in a claim's own words."""
    for paper in page.papers():
        for each in paper["claims"]:
            words = f"{each['paper']} {each.get('differs', '')}"
            assert ("own" in each) == bool(re.search(r"\ba (measure|control) of ours", words)), each["says"]


def test_pictures_of_the_same_prompt_and_seed_are_paired() -> None:
    """Two rows that differ by the same in every picture: decided when paired, lost in the spread when not."""
    first = {"cat": [0.1, 0.5, 0.9], "dog": [0.2, None, 0.8]}
    second = {name: [None if v is None else v - 0.05 for v in values] for name, values in first.items()}
    a, b = results.Value.of(first), results.Value.of(second)
    assert a.less(b)[0] == pytest.approx(0.05) and a.less(b)[1] == pytest.approx(0, abs=1e-9)
    alone = results.Value(a.mean, a.error).less(results.Value(b.mean, b.error))
    assert alone[0] == pytest.approx(0.05) and alone[1] > 0.1


def test_wrong_files_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in page.ORDER:
        (tmp_path / f"{name}.toml").write_text((ROOT / "reproduction" / f"{name}.toml").read_text())
    monkeypatch.setattr(page, "CLAIMS", tmp_path)
    good = (tmp_path / "elite.toml").read_text()
    for old, new in (
        ("says = ", "sais = "),
        ('how = "train"', 'how = "trian"'),
        ('results = "elite"', 'results = "elit"'),
        ('cannot = "', 'unbuilt = "no"\ncannot = "'),
        ('cannot = "', 'part = "no"\ncannot = "'),
        ('cannot = "', 'own = false\ncannot = "'),
        ('less = "ELITE [v], without patches"', 'lesss = "ELITE [v], without patches"'),
    ):
        (tmp_path / "elite.toml").write_text(good.replace(old, new, 1))
        with pytest.raises(ValueError, match=r"elite\.toml"):
            page.papers()


def test_the_page_is_what_the_stored_results_give() -> None:
    text = page.page(page.papers(), results.stored)
    assert (ROOT / "docs" / "reproduction.md").read_text(encoding="utf-8") == text
    assert page.page(page.papers(), lambda name: None).count("| not measured yet |") > 30


def bench(name: str) -> Any:
    """A script of bench/, as a module."""
    place = importlib.util.spec_from_file_location(f"bench_{name}", ROOT / "bench" / f"{name}.py")
    assert place and place.loader
    module = importlib.util.module_from_spec(place)
    sys.modules[f"bench_{name}"] = module
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "bench"))
        place.loader.exec_module(module)
    return module


def made_by_benches() -> dict[str, tuple[set[str], set[str]]]:
    """{stored results: (rows, metrics)} that each bench can make, by its own tables."""
    methods, report, dci, edit, elite = (
        bench(n) for n in ("methods", "editing_report", "dci", "custom_edit", "elite")
    )
    values, schemes, compress = (bench(n) for n in ("value_embedding", "ico_schemes", "compress"))
    swapped, inputs = (bench(n) for n in ("keys_values", "learned_inputs"))
    edits = {f"{e} | {i}" for e in report.EDITS for i in (*report.INVERSIONS, report.PHOTO)}
    edits |= {f"{e} {s:g}" for e in ("prompt-to-prompt", "sdedit") for s in report.STRENGTHS}
    size, untils = dci.WHOLE, (0.15, 0.3, 0.6)
    steps = range(size.every, size.learning + 1, size.every)
    drawn = {f"{name} {step}" for name in dci.LEARNING for step in steps}
    drawn |= {f"dci {b:g}, until {u:g}" for b in size.balances for u in untils}
    drawn |= {f"overfitted: dci {b:g}, until {u:g}" for b in size.again for u in untils}
    drawn |= {f"without {what}, until 0.3" for what in ("mask", "entire prompt", "deep aggregation")}
    ways = {f"{m}{how}" for m in edit.METHODS for how in ("", edit.SDEDIT)}
    over = {*edit.comparisons(edit.METHODS)}
    scores, costs = {"CLIP-I", "CLIP-T", "DINO-I"}, {"seconds", "megabytes", "moved"}
    above = {
        f"above {whose} checkpoints{ending}"
        for whose in ("ICO's", "Custom Diffusion's")
        for ending in ("", results.SEEN)
    }
    edited = {
        "PSNR",
        "SSIM",
        "structure",
        "CLIP-T",
        "like source",
        "like true edit",
        "MSE outside",
        "NS-LPIPS",
    }
    return {
        "methods": ({*methods.SINGLE, *methods.PAIRS}, {*results.MEASURED, "trade-off", *costs}),
        "editing": (edits | {*report.INVERSIONS}, edited),
        "dci": (drawn, scores | above | {"trade-off"}),
        "custom-edit": (ways | over, {*edit.LIKE, edit.AT_SOURCE, edit.AT_REFERENCES}),
        "elite": (elite_rows(elite), scores | {"seconds"}),
        "value-embedding": ({*values.ROWS}, {"PSNR", "SSIM", "seconds a step"}),
        "short-captions": ({*values.SHORT}, {"PSNR", "SSIM", "NS-LPIPS", "structure"}),
        "ico-schemes": ({*schemes.SCHEMES, "contexts 6"}, scores | {"trade-off"}),
        "compress": ({*compress.FORMS}, scores | {"megabytes"}),
        "weights": ({*compress.GROUPS}, {"moved"}),
        "keys-values": ({*swapped.ROWS}, {"own words", "structure"}),
        "learned-inputs": ({*inputs.ROWS}, {"target", "target over source", "outside", "PSNR"}),
        "merge": ({"2 concepts", "10 concepts"}, {"seconds"}),
    }  # fmt: skip


def elite_rows(elite: Any) -> set[str]:
    """The rows of ELITE's bench with everything asked for, where there is an encoder."""
    asked = SimpleNamespace(ablation_steps=1, learned=True, encoder=__file__)
    made = elite.Bench(asked)
    vars(made)["encoder"] = SimpleNamespace(settings=defaultdict(int))
    return {row.name for row in made.rows(SimpleNamespace(noun="cat"))}


def test_what_a_claim_compares_is_what_a_bench_makes() -> None:
    """Else a claim would wait for its numbers forever."""
    known = made_by_benches()
    assert known.keys() == results.READERS.keys()
    for paper in page.papers():
        for each in paper["claims"]:
            for check in each.get("check", ()):
                rows, metrics = known[each["results"]]
                assert check["metric"] in metrics, (each["where"], check)
                named = [check[key] for key in ("more", "less", "row") if key in check] + check.get(
                    "same", []
                )
                assert {*named} <= rows, (each["where"], {*named} - rows)


def test_every_command_that_makes_results_is_there() -> None:
    for source in results.READERS.values():
        script = re.fullmatch(r"python (bench/\w+\.py)\b.*", source.command)
        assert script and (ROOT / script[1]).is_file(), source.command


def test_every_claim_can_come_out_either_way() -> None:
    """Numbers that agree with a claim beyond doubt, and the same turned round: it holds, and it does not."""
    for paper in page.papers():
        for each in (one for one in paper["claims"] if "check" in one):
            for turned, word in ((False, "holds"), (True, "**does not hold**")):
                found: list[str] = []
                for check in each["check"]:
                    rows = invented(check, turned)
                    found.append(page.checked(check, rows)[0])
                assert {*found} == {word}, (each["where"], found)


def invented(check: dict[str, Any], turned: bool) -> dict[str, dict[str, Any]]:
    """Rows for which a check holds, or does not."""
    if "same" in check:
        one, other = check["same"]
        values = {one: 1.0, other: 1.0 + (2 * check["within"] if turned else 0.0)}
    elif "row" in check:
        up = ("above" in check) != turned
        values = {check["row"]: check.get("above", check.get("below")) + (1.0 if up else -1.0)}
    else:
        values = {
            check["less"] if turned else check["more"]: 1000.0,
            check["more"] if turned else check["less"]: 1.0,
        }
    return {row: {check["metric"]: results.Value(value, 1e-4)} for row, value in values.items()}


def test_cells_are_made_once_for_one_base_and_one_asking(tmp_path: Path) -> None:
    """Of other settings, or of a base trained since, a cell is made again; and readers take the newest's kind alone."""
    cells, calls = bench("cells"), list[str]()

    def make(value: float) -> Callable[[], dict[str, Any]]:
        return lambda: calls.append("made") or {"CLIP-I": [value, None], "seconds": 2.0}

    for known, count in (("a", 1), ("a", 1), ("b", 2), ("b", 2)):
        told = cells.cell(tmp_path, "cat", "one row", known, make(count))
        assert told == {"CLIP-I": [count, None], "seconds": [2.0]} and len(calls) == count
    cells.cell(tmp_path, "cat", "another", "a", make(7.0))
    assert {*results.cells(tmp_path)} == {"another"}
    cells.cell(tmp_path, "cat", "another", "b", make(8.0))
    cells.cell(
        tmp_path, "dog", "another", "b", make(9.0)
    )  # a bench that still works: dog has not every row yet
    assert {row: m["CLIP-I"].values for row, m in results.cells(tmp_path).items()} == {
        "one row": {"cat": [2, None]}, "another": {"cat": [8.0, None]},
    }  # fmt: skip


def test_results_are_taken_from_what_benches_leave(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(results, "MADE", tmp_path / "made")
    monkeypatch.setattr(results, "RESULTS", tmp_path / "results")
    folder = tmp_path / "made" / "methods" / "results"
    folder.mkdir(parents=True)
    base = {
        "CLIP-I": [0.3, 0.3],
        "DINO-I": [0.1, 0.1],
        "CLIP-T": [1.0, 2.0],
        "drift": [0.0],
        "ceiling": 0.5,
        "cost": {},
    }
    mine = {**base, "CLIP-I": [0.4, 0.5], "cost": {"seconds": 3.0, "bytes": 2e6, "moved": 0.01}}
    for cell in bench("methods").planned(folder.parent):
        row = cell.spec["row"]
        if cell.spec["subjects"] == ["cat"] and row in ("(the base, class word)", "ico"):
            cell.result.write_text(json.dumps(mine if row == "ico" else base))
            tuned = cell.result.with_stem(f"{cell.result.stem[:-16]}{'0' * 16}")
            tuned.write_text(
                json.dumps({**mine, "CLIP-I": [0.9, 0.9]})
            )  # with other settings: not of the plan
    scores = {"edit | ddim": {"PSNR": {"mean": 30.123456, "standard_error": 0.5, "per_image": [30.0, None]}}}
    (tmp_path / "made" / "editing").mkdir()
    (tmp_path / "made" / "editing" / "editing.json").write_text(json.dumps(scores))
    dci, kept = bench("dci"), tmp_path / "results" / "dci"
    kept.mkdir(parents=True)
    points = {"base class word": (1.0, 0.5), "ico 50": (0.8, 0.6), "dci 1, until 0.15": (0.9, 0.7)}
    for name in ("cat", "car"):
        exam = dci.Exam(name, dci.WHOLE, tmp_path, kept)
        for row in exam.rows[
            : 5 if name == "car" else None
        ]:  # a bench that still works: the car is not whole
            text, image = points.get(row.name, (0.7, 0.4))
            both = {"CLIP-T": [text, text], "CLIP-I": [image - 0.1, image + 0.1]}
            exam.place(row).write_text(json.dumps(both))
    assert results.take() == ["methods", "editing", "dci"]
    assert not results.take(), "nothing new"
    ico = results.stored("methods")["ico"]
    assert ico["CLIP-I"].mean == 0.45 and ico["seconds"].mean == 3.0 and ico["megabytes"].mean == 2.0
    assert ico["trade-off"].mean == pytest.approx(0.75 + 1.0) and ico["CLIP-I"].values == {"cat": [0.4, 0.5]}
    assert results.stored("editing")["edit | ddim"]["PSNR"].mean == 30.123
    one = results.stored("dci")["dci 1, until 0.15"]
    assert one["above ICO's checkpoints"].mean == pytest.approx(0.15)
    assert one["trade-off"].values == {"cat": [pytest.approx(2.1), pytest.approx(2.5)]}


def merge_of(folder: Path, *seconds: float) -> Path:
    """What `bench/merge.py` leaves, of so many rows."""
    told = {f"{i} concepts": {"seconds": {"mean": value, "error": 0.1}} for i, value in enumerate(seconds)}
    place = folder / "merge" / "results.json"
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(json.dumps({"rows": told}))
    return place


def test_a_stored_result_says_its_day_and_machine_which_stay_while_its_rows_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(results, "MADE", tmp_path / "made")
    monkeypatch.setattr(results, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(results, "here", lambda: "one machine")
    place, day = merge_of(tmp_path / "made", 7.0), 86_400.0
    os.utime(place, (day, day))
    assert results.take() == ["merge"]
    first = results.header("merge")
    assert first["machine"] == "one machine" and first["measured"] == date.fromtimestamp(day).isoformat()
    monkeypatch.setattr(results, "here", lambda: "another")
    place.touch()
    assert results.take() == [] and results.header("merge") == first
    merge_of(tmp_path / "made", 7.0, 8.0)
    assert results.take() == ["merge"]
    assert results.header("merge")["machine"] == "another"
    assert results.header("merge")["measured"] == date.today().isoformat()


def repository(folder: Path, day: str, files: Mapping[str, dict[str, Any]]) -> None:
    """Commit files on a day."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, told in files.items():
        (folder / name).write_text(json.dumps(told))
    at = f"{day}T12:00:00+0000"
    who = {f"GIT_{role}_{key}": "m@m" for role in ("AUTHOR", "COMMITTER") for key in ("NAME", "EMAIL")}
    dates = {"GIT_AUTHOR_DATE": at, "GIT_COMMITTER_DATE": at}
    for words in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "cells"]):
        subprocess.run(["git", "-C", str(folder), *words], check=True, env={**os.environ, **who, **dates})


def test_cells_of_a_checkout_are_not_of_the_checkout_s_day_and_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Committed cells are of their commits; those that are not, or say it themselves, of what is known of them."""
    monkeypatch.setattr(results, "RESULTS", tmp_path)
    monkeypatch.setattr(results, "here", lambda: "here")
    folder, today = tmp_path / "dci", date.today().isoformat()
    repository(folder, "2020-01-02", {"a λ.result": {}, "b.result": {}})
    (folder / "a λ.result").touch()

    def made(*names: str, **before: str) -> tuple[str, str]:
        found = results.made([folder / name for name in names], before)
        return found["measured"], found["machine"]

    assert made("a λ.result", "b.result") == ("2020-01-02", "unknown")
    stored = {"measured": "2020-01-03", "machine": "the first"}
    assert made("a λ.result", "b.result", **stored) == ("2020-01-02", "the first")
    repository(folder, "2020-02-01", {"b.result": {"m": [1]}})
    assert made("a λ.result", "b.result", **stored) == ("2020-02-01", "the first; unknown")
    (folder / "b.result").write_text("{}")  # measured anew, and not committed yet
    (folder / "c.result").write_text("{}")
    for name in ("b.result", "c.result"):
        assert made("a λ.result", name, **stored) == (today, "here; the first")
    subprocess.run(["git", "-C", str(folder), "rm", "-q", "a λ.result"], check=True)
    repository(folder, "2020-03-01", {})
    (folder / "a λ.result").write_text("{}")  # given up, and made again
    assert made("a λ.result", **stored) == (today, "here")
    repository(folder, "2020-01-02", {"a λ.result": {"again": []}})
    (folder / "c.result").write_text(json.dumps({"machine": "its own", "day": "2020-01-05"}))
    assert made("a λ.result", "c.result", **stored) == ("2020-01-05", "its own; the first")


def test_without_git_a_kept_cell_s_day_is_the_stored_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(results, "RESULTS", tmp_path)
    monkeypatch.setattr(results, "committed", lambda folder: None)
    (tmp_path / "a.result").write_text("{}")
    for before in ({"measured": "2020-01-03", "machine": "the first"}, {}):
        expected = before or {"measured": "unknown", "machine": "unknown"}
        assert results.made([tmp_path / "a.result"], before) == expected


def test_every_stored_result_says_day_machine_and_seeds() -> None:
    text = (ROOT / "docs" / "reproduction.md").read_text(encoding="utf-8")
    for path in results.RESULTS.glob("*.json"):
        told = results.header(path.stem)
        assert results.DAY.fullmatch(told["measured"]) and told["machine"]
        seeds = results.READERS[path.stem].seeds
        assert f"| {path.stem} | {told['measured']} | {told['machine']} | {seeds} |" in text


def test_the_seeds_that_are_told_are_those_that_a_bench_draws_with() -> None:
    """A bench with --seeds draws so many of each prompt, from 0 on."""
    asked = 0
    for source in results.READERS.values():
        script = (ROOT / source.command.split()[1]).read_text(encoding="utf-8")
        if (default := re.search(r'"--seeds", type=int, default=(\d+)', script)) and "prompt" in source.seeds:
            assert source.seeds.startswith(f"0 to {int(default[1]) - 1} of each prompt"), source.command
            asked += 1
    size = bench("dci").WHOLE
    assert results.READERS["dci"].seeds.startswith(f"0 to {size.seeds - 1} of each prompt") and asked == 5


def command_of(path: Path) -> click.Command:
    """The command that a settings file is for."""
    name = path.stem
    words = {
        "ico-for-dci": ["learn", "ico"],
        "sample-ddpm": ["sample", "plain"],
        "edit-p2p": ["edit", "prompt-to-prompt"],
    }
    verb = words.get(name) or ([COMMANDS[name], name] if name in COMMANDS else name.split("-", 1))
    found: Any = app
    for word in verb:
        found = found.get_command(click.Context(found), word)
        assert found is not None, (path, verb)
    return found


@pytest.mark.parametrize("path", [p for p in SD14 if p not in SPECS], ids=lambda p: p.stem)
def test_a_settings_file_is_one_that_its_command_reads(path: Path) -> None:
    command = command_of(path)
    known = {parameter.name: parameter for parameter in command.params}
    told = tomllib.loads(path.read_text())
    assert told["base"] == "CompVis/stable-diffusion-v1-4" and path.read_text().startswith("# ")
    for name, value in told.items():
        parameter = known[name]
        word = str(value).lower() if isinstance(value, bool) else str(value)
        parameter.type_cast_value(click.Context(command), [word] if parameter.multiple else word)


@pytest.mark.parametrize("path", SPECS, ids=lambda p: p.stem)
def test_a_trade_offs_spec_is_one(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A benchmark's file is not here: one concept stands for its many."""
    one = {"name": "cat", "photos": "cat", "prompt": "photo of a <new1> cat", "prompts": ["a {concept}"]}
    monkeypatch.setattr("motif.tradeoff.spec.benchmark", lambda file: [one])
    spec = read_spec(path)
    assert all(read_way(method, spec).grid() for method in spec.methods)


def test_every_settings_file_is_used_and_every_file_that_is_named_is_there() -> None:
    text = "".join((ROOT / "reproduction" / f"{name}.toml").read_text() for name in page.ORDER)
    named = set(re.findall(r"reproduction/sd14/([\w-]+)\.toml", text))
    extra = {"textual-inversion", "dreambooth", "fine-tune-all", "ico"}  # single runs of what a spec runs
    assert named | extra == {path.stem for path in SD14}


def test_the_quick_subset_is_read_from_its_table(tmp_path: Path) -> None:
    def point(
        method: str, along: str, value: Any, text: float, image: float, **more: float
    ) -> dict[str, Any]:
        scores = {name: {"mean": mean, "error": 0.01} for name, mean in (("clip-t", text), ("clip-i", image))}
        return {
            "method": method,
            "settings": {**({along: value} if along else {}), **more},
            "along": along,
            "scores": scores,
        }

    points = [
        point("the base", "", None, 1.7, 0.3),
        point("textual-inversion", "steps", 50, 1.5, 0.4),
        point("textual-inversion", "steps", 150, 1.4, 0.6),
        point("custom-diffusion", "steps", 200, 1.6, 0.5),
        point("ico", "steps", 200, 1.5, 0.5),
        point("ico + dci", "balance", -2.0, 1.4, 0.6),
        point("ico + dci", "balance", 1.0, 1.6, 0.6),
        point("ico + dci", "balance", 1.0, 1.6, 0.55, until=0.15),
    ]
    (tmp_path / "table.json").write_text(json.dumps({"points": points}))
    found = results.quick(tmp_path / "table.json")
    assert found("methods")["textual-inversion"]["CLIP-I"].mean == 0.6 and found("editing") is None
    dci = found("dci")
    assert dci["dci 1, until 0.3"]["above ICO's checkpoints"].mean == pytest.approx(0.6 - 0.4)
    assert dci["dci 1, until 0.15"]["above ICO's checkpoints"].mean == pytest.approx(0.55 - 0.4)
    assert dci["dci 1, until 0.3"]["above Custom Diffusion's checkpoints"].mean == pytest.approx(0.6 - 0.5)
    assert {row for row in dci if not row.startswith("dci")} == {"base", "ico 200", "custom-diffusion 200"}
    text = page.page(page.papers(), found)
    assert "| holds |" in text and "not measured yet" in text


def said() -> list[str]:
    """Every command of every paper, one by one."""
    papers = [tomllib.loads((ROOT / "reproduction" / f"{name}.toml").read_text()) for name in page.ORDER]
    lines = [line for paper in papers for text in paper["commands"].values() for line in text.splitlines()]
    return list(dict.fromkeys(part.strip() for line in lines for part in line.split("&&")))


def test_people_are_asked_their_papers_own_questions() -> None:
    """Every claim of a study has a command, and it asks what that paper asked: no other paper's words."""
    for paper in page.papers():
        for each in (one for one in paper["claims"] if "needs people" in one.get("cannot", "")):
            assert each.get("how") == "study", (paper["paper"], each["where"])
        if "study" not in paper["commands"]:
            continue
        words = shlex.split(paper["commands"]["study"].split("&&")[0])
        chosen = [words[i + 1] for i, word in enumerate(words) if word == "--question"]
        found = asked(chosen, references="--refs" in words, sources="--sources" in words)
        number = paper["source"].rpartition("arXiv:")[2]
        own = {name for name, question in QUESTIONS.items() if f"arXiv:{number}," in question.paper}
        # ELITE's question of text is Custom Diffusion's, word for word
        assert {each.name for each in found} == own | ({"text"} if paper["paper"] == "ELITE" else set())


def test_textual_inversion_learns_its_word_alone_from_the_noun() -> None:
    """As the papers ran it: the noun is where the word starts, and no part of the caption."""
    found = [shlex.split(line) for line in said() if line.startswith("motif learn textual-inversion")]
    assert len(found) >= 4
    for words in found:
        assert re.search(r"<new\d>$", words[4]) and "--initial" in words, words


def test_no_sheet_of_several_edits_is_measured_as_a_picture() -> None:
    """An edit of several strengths saves a sheet as -o, and the pictures beside it: NAME-1, NAME-2..."""
    for paper in page.papers():
        for text in paper["commands"].values():
            sheets, measured = set[str](), set[str]()
            for words in map(shlex.split, text.splitlines()):
                if words[1] == "measure":
                    measured.add(words[3])
                elif words[1] == "edit" and "--config" in words:
                    told = tomllib.loads((ROOT / words[words.index("--config") + 1]).read_text())
                    sheets |= {words[words.index("-o") + 1]} if "strengths" in told else set()
            assert not sheets & measured, (paper["paper"], sheets & measured)
            if sheets:
                first = min(sheets, key=len).removesuffix(".png")
                assert {f"{first}-{i}.png" for i in range(1, 5)} <= measured


def test_pictures_that_are_measured_are_not_drawn_over() -> None:
    """A command that is to be run for each of many prompts takes them from a file, or each run takes the last one's
    place; and it says that captions of real photos name no concept."""
    kid = tomllib.loads((ROOT / "reproduction" / "custom_diffusion.toml").read_text())["commands"]["kid"]
    drawing, *measuring = map(shlex.split, kid.splitlines())
    assert drawing[3] == "captions.txt" and "--unnamed" in drawing
    assert all(words[3] == drawing[drawing.index("-o") + 1] for words in measuring)
    assert "run for each" not in "".join(
        (ROOT / "reproduction" / f"{name}.toml").read_text() for name in page.ORDER
    )


def test_the_settings_are_of_the_numbers_beside_them() -> None:
    """Table 4's figures are of 200 steps; ELITE's baselines train the text encoder, and take rates as they are."""
    benchmark = tomllib.loads((ROOT / "reproduction" / "sd14" / "custom-concept-101.toml").read_text())
    assert benchmark["sampling"]["steps"] == 200
    others = tomllib.loads((ROOT / "reproduction" / "elite.toml").read_text())["commands"][
        "others"
    ].splitlines()
    told = {line.split()[2]: line for line in others if line.startswith("motif learn")}
    assert "--train-text-encoder" in told["dreambooth"]
    for method in ("custom-diffusion", "textual-inversion"):
        assert "--no-scale-lr" in told[method]


def test_the_paper_s_single_concepts_have_its_counts_and_its_means_are_of_nine() -> None:
    """Table 7's means of text and image leave Moongate out; each concept has 20 prompts of 50 pictures."""
    spec = read_spec(ROOT / "reproduction" / "sd14" / "custom-diffusion-single.toml")
    assert len(spec.concepts) == 9 and "moongate" not in {concept.name for concept in spec.concepts}
    assert len({*spec.prompts}) == 20 and len(spec.seeds) == 50
    known = {
        prompt.replace("<new1> cat", "{concept}") for prompt in dreambench_prompts("object", "<new1> cat")
    }
    assert {*spec.prompts} <= known


def test_a_claim_is_checked_as_it_is_said() -> None:
    """Figures that a claim says are those that its checks ask for, and what it says of several is asked of each."""
    claims = {(p["paper"], c["says"]): c for p in page.papers() for c in p["claims"]}

    def checks(paper: str, opening: str) -> list[dict[str, Any]]:
        (found,) = (c for (name, says), c in claims.items() if name == paper and says.startswith(opening))
        return found["check"]

    cheap = checks("Custom Diffusion", "About five times as fast")
    assert {check["metric"]: check["by"] for check in cheap} == {"seconds": 5, "megabytes": 40}
    small = checks("Custom Diffusion", "60 %")
    assert [check["by"] for check in small if "by" in check] == [5]
    for opening, rows in (("All words together", 1), ("The primary word follows", 2)):
        metrics = [check["metric"] for check in checks("ELITE", opening)]
        assert sorted({*metrics}) == ["CLIP-I", "CLIP-T", "DINO-I"] and len(metrics) == 3 * rows
    highest = [c for c in checks("StyleDiffusion", "Clipscore above") if c.get("more") == "word-swap | ddim"]
    table = {"p2plus | value-embedding", "prompt-to-prompt | null-text", "sdedit | (photo)"}
    assert {check["less"] for check in highest} == table


@pytest.mark.parametrize("line", said())
def test_a_command_that_is_told_is_one(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is parsed, with its settings file, as click would before it runs; a script's words, by the script."""
    monkeypatch.chdir(ROOT)
    first, *words = shlex.split(line)
    command: Any = app
    if first == "python" and words[0] == "reproduction/protocol.py":
        asked = protocol.arguments(words[1:])
        assert asked.settings.is_dir() and asked.changes.is_file()
        return
    if first == "python" and words[0] == "bench/keys_values.py":
        assert bench("keys_values").arguments(words[1:]).base == "CompVis/stable-diffusion-v1-4"
        return
    if first == "python":
        assert words[0] == "reproduction/pie_bench.py"
        asked = pie_bench.arguments(words[1:])
        assert pie_bench.Way.of("invert", asked.invert, asked.inverting).name
        assert pie_bench.Way.of("edit", asked.edit, asked.editing).name
        return
    assert first == "motif"
    while isinstance(command, click.Group):
        name, command, words = command.resolve_command(click.Context(command), words)
    with command.make_context(name, words) as context:
        assert context.params
