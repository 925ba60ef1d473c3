"""The papers' claims as data: complete, decided by rule from stored results; and settings files that commands take."""

from __future__ import annotations

import importlib.util
import json
import re
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest

from motif.cli.app import app
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


def _load() -> Any:
    place = importlib.util.spec_from_file_location("reproduction_page", ROOT / "bench" / "reproduction.py")
    assert place and place.loader
    module = importlib.util.module_from_spec(place)
    sys.modules["reproduction_page"] = module
    place.loader.exec_module(module)
    return module


page = _load()


def rows(**found: dict[str, Any]) -> Callable[[str], Any]:
    told = {row: {m: page.Value(*v) for m, v in metrics.items()} for row, metrics in found.items()}
    return lambda name: told


def claim(**check: Any) -> dict[str, Any]:
    return {"where": "", "says": "", "paper": "", "results": "methods", "check": [check]}


def test_every_claim_is_read_and_every_paper_is_there() -> None:
    papers = page.papers()
    assert len(papers) == 5 and all(len(paper["claims"]) > 8 for paper in papers)
    for paper in papers:
        for each in paper["claims"]:
            assert each["says"] and each["paper"] and (each.get("cannot") or each["check"])


@pytest.mark.parametrize(
    ("name", "numbers"),
    [
        (
            "custom_diffusion",
            {"figure": [1, 3, 6, 7, 8, 9, 10, 11, 14, 15, 19, 20, 21], "table": range(1, 9)},
        ),
        ("custom_edit", {"figure": [1, 3, 4, "B", "C", "D", "E", "F"], "table": []}),
        ("ico_dci", {"figure": [1, 2, 5, 6, 7, 8, 9, 10, 11, 12], "table": [1]}),
        ("elite", {"figure": [1, 4, 5, 6, 7, 8, 9, 10, 12, 13, 14, 15, 16, 17], "table": range(1, 5)}),
        ("stylediffusion", {"figure": [2, 4, 7, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19], "table": [2, 3]}),
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
        ((1.0, 0.3), (0.5, 0.3), {"same": ["a", "b"]}, "holds"),
        ((1.0, 0.1), (0.5, 0.1), {"same": ["a", "b"]}, "**does not hold**"),
        ((1.0, 0.1), (0.5, 0.1), {"row": "a", "above": 0.5}, "holds"),
        ((1.0, 0.1), (0.5, 0.1), {"row": "a", "below": 0.5}, "**does not hold**"),
        ((1.0, None), (0.5, None), {"more": "a", "less": "b", "by": 2}, "holds"),
        ((0.9, None), (0.5, None), {"more": "a", "less": "b", "by": 2}, "**does not hold**"),
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
    assert page.verdict(both, lambda name: None).word == "not measured yet"
    assert page.verdict({**both, "cannot": "no"}, results).told == ["no"]


def test_pictures_of_the_same_prompt_and_seed_are_paired() -> None:
    """Two rows that differ by the same in every picture: decided when paired, lost in the spread when not."""
    first = {"cat": [0.1, 0.5, 0.9], "dog": [0.2, None, 0.8]}
    second = {name: [None if v is None else v - 0.05 for v in values] for name, values in first.items()}
    a, b = page.Value.of(first), page.Value.of(second)
    assert a.less(b)[0] == pytest.approx(0.05) and a.less(b)[1] == pytest.approx(0, abs=1e-9)
    alone = page.Value(a.mean, a.error).less(page.Value(b.mean, b.error))
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
        ('less = "ELITE [v], without patches"', 'lesss = "ELITE [v], without patches"'),
    ):
        (tmp_path / "elite.toml").write_text(good.replace(old, new, 1))
        with pytest.raises(ValueError, match=r"elite\.toml"):
            page.papers()


def test_the_page_is_what_the_stored_results_give() -> None:
    text = page.page(page.papers(), page.stored)
    assert (ROOT / "docs" / "reproduction.md").read_text(encoding="utf-8") == text
    assert page.page(page.papers(), lambda name: None).count("| not measured yet |") > 30


def test_results_are_taken_from_what_benches_leave(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page, "MADE", tmp_path / "made")
    monkeypatch.setattr(page, "RESULTS", tmp_path / "results")
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
    for row, result in (("(the base, class word)", base), ("ico", mine)):
        spec = {"row": row, "subjects": ["cat"], "quick": False}
        (folder / f"{row[:4]}.json").write_text(json.dumps(spec))
        (folder / f"{row[:4]}.result").write_text(json.dumps(result))
    scores = {"edit | ddim": {"PSNR": {"mean": 30.123456, "standard_error": 0.5, "per_image": [30.0, None]}}}
    (tmp_path / "made" / "editing").mkdir()
    (tmp_path / "made" / "editing" / "editing.json").write_text(json.dumps(scores))
    cells = tmp_path / "made" / "dci" / "cells"
    cells.mkdir(parents=True)
    points = {"base class word": (1.0, 0.5), "ico 50": (0.8, 0.6), "dci 1, until 0.15": (0.9, 0.7)}
    for row, (text, image) in points.items():
        both = {"CLIP-T": [text, text], "CLIP-I": [image - 0.1, image + 0.1]}
        (cells / f"cat - {row}.json").write_text(json.dumps(both))
    (cells / "dog - ico 50.json").write_text(
        json.dumps(both)
    )  # a bench that still works: this object is not whole
    assert page.take() == ["methods", "editing", "dci"]
    ico = page.stored("methods")["ico"]
    assert ico["CLIP-I"].mean == 0.45 and ico["seconds"].mean == 3.0 and ico["megabytes"].mean == 2.0
    assert ico["trade-off"].mean == pytest.approx(0.75 + 1.0) and ico["CLIP-I"].values == {"cat": [0.4, 0.5]}
    assert page.stored("editing")["edit | ddim"]["PSNR"].mean == 30.123
    one = page.stored("dci")["dci 1, until 0.15"]
    assert one["above ICO's checkpoints"].mean == pytest.approx(0.15)
    assert one["trade-off"].values == {"cat": [pytest.approx(2.1), pytest.approx(2.5)]}


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
def test_a_trade_offs_spec_is_one(path: Path) -> None:
    spec = read_spec(path)
    assert all(read_way(method, spec).grid() for method in spec.methods)


def test_every_settings_file_is_used_and_every_file_that_is_named_is_there() -> None:
    text = "".join((ROOT / "reproduction" / f"{name}.toml").read_text() for name in page.ORDER)
    named = set(re.findall(r"reproduction/sd14/([\w-]+)\.toml", text))
    extra = {"textual-inversion", "dreambooth", "fine-tune-all", "ico"}  # single runs of what a spec runs
    assert named | extra == {path.stem for path in SD14}


def test_the_quick_subset_is_read_from_its_table(tmp_path: Path) -> None:
    def point(method: str, along: str, value: Any, text: float, image: float) -> dict[str, Any]:
        scores = {name: {"mean": mean, "error": 0.01} for name, mean in (("clip-t", text), ("clip-i", image))}
        return {
            "method": method,
            "settings": {along: value} if along else {},
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
    ]
    (tmp_path / "table.json").write_text(json.dumps({"points": points}))
    found = page.quick(tmp_path / "table.json")
    assert found("methods")["textual-inversion"]["CLIP-I"].mean == 0.6 and found("editing") is None
    assert found("dci")["dci 1, until 0.3"]["above ICO's checkpoints"].mean == pytest.approx(0.6 - 0.4)
    assert set(found("dci")) == {"base", "ico 200", "dci -2, until 0.3", "dci 1, until 0.3"}
    text = page.page(page.papers(), found)
    assert "| holds |" in text and "not measured yet" in text
