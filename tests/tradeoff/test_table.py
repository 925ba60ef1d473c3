"""What is made of scores: means over concepts, both errors, fronts with metrics of which less is better."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from motif.cli.tradeoff import _text
from motif.tradeoff.figure import figure
from motif.tradeoff.jobs import Cell, Plan, Spot
from motif.tradeoff.report import report
from motif.tradeoff.scatter import Failure
from motif.tradeoff.store import Store
from motif.tradeoff.table import table

LESS = frozenset({"kid"})


def spot(store: Store, method: str, steps: int, **scores: tuple[float, float]) -> Spot:
    """A point of two concepts that differ by 0.2 in every metric."""
    cells: list[Cell] = []
    for concept, off in (("cat", -0.1), ("dog", 0.1)):
        found: dict[str, str] = {}
        for metric, (mean, error) in scores.items():
            found[metric] = f"{method}{steps}{concept}{metric}".encode().hex()
            with store.making(found[metric]) as making:
                making.result = {"mean": mean + off, "standard_error": error, "n": 4}
        cells.append(Cell(concept, {}, found))
    return Spot(method, {"steps": steps}, "steps", tuple(cells))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


def test_means_and_both_errors(store: Store) -> None:
    plan = Plan((), (spot(store, "a", 1, x=(0.5, 0.03), y=(0.7, 0.04)),))
    value = table(plan, store, {}, ("x", "y"), None, LESS).rows[0].values["x"]
    assert value.mean == pytest.approx(0.5) and value.n == 8
    assert value.error == pytest.approx(math.hypot(0.03, 0.03) / 2)
    assert value.across == pytest.approx(0.2 / math.sqrt(2) / math.sqrt(2))
    assert value.by_concept == {"cat": pytest.approx(0.4), "dog": pytest.approx(0.6)}


def test_pictures_without_a_value_are_counted_wherever_the_point_is_told(
    store: Store, tmp_path: Path
) -> None:
    """An average of four of six pictures says so; where all have one, nothing is said."""
    plan = Plan(
        (), (spot(store, "a", 1, x=(0.5, 0.1), y=(0.7, 0.1)), spot(store, "b", 1, x=(0.5, 0.1), y=(0.7, 0.1)))
    )
    told: Any = store.result(where := plan.spots[1].cells[0].scores["y"])
    (store.place(where) / "result.json").write_text(json.dumps({**told, "without_value": 3}))
    found = table(plan, store, {}, ("x", "y"), None, LESS)
    whole, part = found.rows
    assert (whole.values["y"].without, whole.without, whole.pictures) == (0, "", 8)
    assert (part.values["y"].without, part.without, part.pictures) == (3, "y 3 of 11", 11)
    assert found.as_dict()["points"][1]["scores"]["y"]["without"] == 3
    lines = _text(found).splitlines()
    assert lines[0].endswith("front  without a value") and lines[2].endswith("y 3 of 11")
    page = report(tmp_path, found, store, {}, spec="", command="", foot="").read_text()
    assert "y 3 of 11" in page and "left out of that metric" in page
    all_there = table(Plan((), plan.spots[:1]), store, {}, ("x", "y"), None, LESS)
    assert "without" not in _text(all_there)
    page = report(tmp_path, all_there, store, {}, spec="", command="", foot="").read_text()
    assert "without a value" not in page and ">8<" in page


def points(store: Store, metric: str) -> Plan:
    spots = (
        spot(store, "a", 1, text=(1.0, 0.1), **{metric: (3.0, 0.1)}),
        spot(store, "a", 2, text=(2.0, 0.1), **{metric: (2.0, 0.1)}),
        spot(store, "b", 1, text=(1.0, 0.1), **{metric: (1.0, 0.1)}),
    )
    return Plan((), spots)


def test_the_front_and_the_volumes_of_curves(store: Store) -> None:
    found = table(points(store, "image"), store, {}, ("text", "image"), (0.0, 0.0), LESS)
    assert [row.name for row in found.front()] == ["a steps 1", "a steps 2"]
    assert found.volumes() == {"a": pytest.approx(5.0), "b": pytest.approx(1.0), "all": pytest.approx(5.0)}
    told: Any = found.as_dict()
    assert [point["front"] for point in told["points"]] == [True, True, False]


def test_less_kid_is_better(store: Store) -> None:
    found = table(points(store, "kid"), store, {}, ("text", "kid"), (0.0, 4.0), LESS)
    assert [row.name for row in found.front()] == ["b steps 1", "a steps 2"]
    assert found.volumes()["all"] == pytest.approx(1 * 3 + 1 * 2)


def test_a_lost_score_leaves_the_rest_and_says_why(store: Store) -> None:
    whole = points(store, "image")
    lost = whole.spots[0].cells[0].scores["image"]
    (store.place(lost) / "result.json").unlink()
    found = table(whole, store, {lost: Failure("learn a", "no")}, ("text", "image"), None, LESS)
    assert [sorted(row.values) for row in found.rows] == [["text"], ["image", "text"], ["image", "text"]]
    assert found.rows[0].lost == "learn a" and [f.label for f in found.failures] == ["learn a"]
    assert [row.name for row in found.front()] == ["a steps 2"]


def test_the_figure_has_every_curve_and_its_marks(store: Store) -> None:
    drawn = figure(table(points(store, "image"), store, {}, ("text", "image"), None, LESS))
    assert drawn.startswith("<svg") and ">a</text>" in drawn and "Pareto front" in drawn
    assert "image (more is better)" in drawn and drawn == figure(
        table(points(store, "image"), store, {}, ("text", "image"), None, LESS)
    )
    assert "kid (less is better)" in figure(
        table(points(store, "kid"), store, {}, ("text", "kid"), None, LESS)
    )


def test_one_metric_has_no_front(store: Store) -> None:
    found = table(points(store, "image"), store, {}, None, None, LESS)
    assert found.front() == [] and found.volumes() == {} and found.as_dict()["axes"] is None
