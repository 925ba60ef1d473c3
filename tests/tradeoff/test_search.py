"""`--optimise`: a search that asks the same points again."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from motif.base import Base
from motif.errors import InputError
from motif.tradeoff.plan import Planner
from motif.tradeoff.spec import Spec
from motif.tradeoff.sweep import tradeoff

Make = Callable[..., Spec]
WAYS = [{"sampling": {"guidance": {"low": 1.0, "high": 5.0}, "eta": [0.0, 1.0]}, "along": "guidance"}]


def test_it_asks_measures_and_asks_the_same_again(tmp_path: Path, spec: Make, tiny_base: Base) -> None:
    pytest.importorskip("optuna", reason="optuna is not installed (extra scale)")
    asked: list[Any] = []
    searched = spec(methods=WAYS, prompts=["a {concept}"], sampling={"steps": 1})
    first = tradeoff(searched, tmp_path / "out", base=tiny_base, optimise=6)
    assert 4 <= len(first.rows) <= 6 and first.front() and first.volumes()
    assert all(1.0 <= row.spot.settings["guidance"] <= 5.0 for row in first.rows)
    again = tradeoff(
        searched, tmp_path / "out", base=tiny_base, optimise=6, on_job=lambda n, of, job: asked.append(job)
    )
    assert asked == [] and again.as_dict() == first.as_dict()


LEARNED = {
    "learn": "ico",
    "settings": {"steps": 1, "prior": "none", "batch_size": 2, "resolution": 16},
    "along": "eta",
}


@pytest.mark.parametrize(
    ("settings", "sampling", "words"),
    [
        ({}, {"eta": {"low": 0.5, "high": 3.0}}, "toy: ico eta 3: "),
        ({}, {"eta": {"low": -1.0, "high": 0.5}}, "toy: ico eta -1: "),
        ({}, {"eta": [0.0, 0.5, 3.0, 1.0]}, "toy: ico eta 3: "),
        ({"batch_size": [1, 0, 2]}, {"eta": [0.0, 1.0]}, "toy: learn ico batch_size 0 to step 1: steps 1"),
        ({"steps": {"low": 0, "high": 4}}, {"eta": [0.0, 1.0]}, "ico: steps 0: one or more"),
    ],
)  # fmt: skip
def test_what_a_search_would_be_refused_is_refused_before_its_first_point(
    tmp_path: Path, spec: Make, tiny_base: Base, monkeypatch: pytest.MonkeyPatch,
    settings: dict[str, Any], sampling: dict[str, Any], words: str,
) -> None:  # fmt: skip
    """Without optuna: nobody is asked for a point yet."""
    monkeypatch.setitem(sys.modules, "optuna", SimpleNamespace(__spec__=object()))
    learned = {**LEARNED, "settings": {**LEARNED["settings"], **settings}, "sampling": sampling}
    with pytest.raises(InputError) as caught:
        tradeoff(spec(methods=[{}, learned]), tmp_path / "out", base=tiny_base, optimise=6)
    assert words in str(caught.value) and "\n" not in str(caught.value)
    assert not list((tmp_path / "out").rglob("*.png"))


def test_the_ends_of_a_search_have_every_choice_and_both_ends(spec: Make, tiny_base: Base) -> None:
    learned: Any = {**LEARNED, "sampling": {"eta": {"low": 0.0, "high": 1.0}, "guidance": [1.0, 2.0, 5.0]}}
    learned["settings"] = {**LEARNED["settings"], "steps": {"low": 1, "high": 3}, "lr": [1e-3, 1e-2]}
    told = [dict(each.settings) for each in Planner(spec(methods=[{}, learned]), tiny_base).ends().spots]
    first = {"steps": 1, "lr": 1e-3, "eta": 0.0, "guidance": 1.0}
    others = [{"steps": 3}, {"lr": 1e-2}, {"eta": 1.0}, {"guidance": 2.0}, {"guidance": 5.0}]
    assert told == [{}, first, *({**first, **other} for other in others)]
    assert all(type(each["steps"]) is int for each in told[1:])


def test_what_a_concept_brings_and_no_candidate_hears_is_refused(
    tmp_path: Path, spec: Make, raw: Any, tiny_base: Base, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "optuna", SimpleNamespace(__spec__=object()))
    toy = {**raw()["concepts"][0], "class_prompt": "a toy"}
    learned = {**LEARNED, "sampling": {"eta": [0.0, 1.0]}}
    with pytest.raises(InputError, match="brings a class_prompt, and every method here"):
        tradeoff(spec(methods=[learned], concepts=[toy]), tmp_path / "out", base=tiny_base, optimise=6)


def test_the_report_of_a_search_tells_the_command_of_a_search(
    tmp_path: Path, spec: Make, tiny_base: Base, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where optuna is not here: what it would ask for is the grid."""
    monkeypatch.setitem(sys.modules, "optuna", SimpleNamespace(__spec__=object()))

    def searched(sweep: Any, planner: Any, points: int, told: Any) -> tuple[Any, dict[str, Any]]:
        plan = planner.plan()
        return plan, sweep.run(plan, told)

    monkeypatch.setattr("motif.tradeoff.sweep._searched", searched)
    few = spec(methods=[{}], prompts=["a {concept}"], sampling={"steps": 1}, seeds=1)
    tradeoff(few, tmp_path / "out", base=tiny_base, optimise=6)
    page = tmp_path / "out" / "report.html"
    assert "motif tradeoff SPEC.toml -o out --optimise 6" in page.read_text()
    tradeoff(few, tmp_path / "out", base=tiny_base)
    assert "motif tradeoff SPEC.toml -o out<" in page.read_text()


def test_what_cannot_be_searched_is_refused(
    tmp_path: Path, spec: Make, tiny_base: Base, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(InputError, match=r"motif\[scale\]"):
        tradeoff(spec(), tmp_path / "out", base=tiny_base, optimise=2)
    with pytest.raises(InputError, match="guidance is a range"):
        tradeoff(spec(methods=WAYS), tmp_path / "out", base=tiny_base)
    monkeypatch.undo()
    monkeypatch.setitem(sys.modules, "optuna", SimpleNamespace(__spec__=object()))
    with pytest.raises(InputError, match="two metrics"):
        tradeoff(spec(metrics=["clip-i"]), tmp_path / "out", base=tiny_base, optimise=2)
    with pytest.raises(InputError, match="nothing to search"):
        tradeoff(spec(methods=[{}]), tmp_path / "out", base=tiny_base, optimise=2)
