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
