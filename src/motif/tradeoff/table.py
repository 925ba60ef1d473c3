"""What the jobs gave, point by point: means over the concepts, with the error over pictures and that over concepts.

    mean = 1/C Σ_c mean_c      error = √(Σ_c error_c²) / C      across = deviation of mean_c / √C

`error` is of other seeds for the same prompts and concepts, `across` of other concepts; with one concept it is unknown.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from motif.tradeoff.front import Point, front, hypervolume, signs
from motif.tradeoff.jobs import Cell, Plan, Spot
from motif.tradeoff.scatter import Failure
from motif.tradeoff.settings import label
from motif.tradeoff.store import Store


@dataclass(frozen=True)
class Value:
    """One metric of one point."""

    mean: float
    error: float | None
    across: float | None
    n: int  # pictures that have a value
    without: int  # pictures that have none, and are in no mean
    by_concept: Mapping[str, float]


@dataclass(frozen=True, eq=False)
class Row:
    """One point of the table; a metric that could not be measured of every concept has no value."""

    spot: Spot
    values: Mapping[str, Value]
    lost: str = ""  # why some value is missing

    @property
    def name(self) -> str:
        return " ".join([self.spot.method, label(self.spot.settings, [*self.spot.settings])]).strip()

    @property
    def pictures(self) -> int:
        """How many were drawn, with a value or without."""
        return max((value.n + value.without for value in self.values.values()), default=0)

    @property
    def without(self) -> str:
        """Of which metrics how many pictures have no value, in words: "ssim 2 of 8"; "" where all have one."""
        found = {name: value for name, value in self.values.items() if value.without}
        return ", ".join(f"{name} {v.without} of {v.n + v.without}" for name, v in found.items())

    @property
    def curve(self) -> str:
        """Its curve: the method with all settings but the one that it runs along."""
        rest = [name for name in self.spot.settings if name != self.spot.along]
        return " ".join([self.spot.method, label(self.spot.settings, rest)]).strip()

    def at(self, axes: tuple[str, str]) -> Point | None:
        """Where it is drawn."""
        if not all(axis in self.values for axis in axes):
            return None
        return self.values[axes[0]].mean, self.values[axes[1]].mean


@dataclass(frozen=True, eq=False)
class Table:
    """All points, and what is best of them."""

    rows: tuple[Row, ...]
    axes: tuple[str, str] | None
    reference: Point
    lower: frozenset[str]  # the metrics of which less is better
    failures: tuple[Failure, ...] = ()

    def placed(self) -> list[tuple[Row, Point]]:
        """The rows that can be drawn, each with its place."""
        found = [(row, row.at(self.axes)) for row in self.rows if self.axes]
        return [(row, place) for row, place in found if place is not None]

    def turned(self, places: Sequence[Point]) -> list[Point]:
        """Places with both signs such that larger is better."""
        across, up = signs(self.axes, self.lower) if self.axes else (1.0, 1.0)
        return [(across * x, up * y) for x, y in places]

    def front(self) -> list[Row]:
        """The points that none dominates, from left to right."""
        placed = self.placed()
        return [placed[i][0] for i in front(self.turned([place for _, place in placed]))]

    def volumes(self) -> dict[str, float]:
        """The hypervolume of each curve's points, and of all together."""
        if not self.axes:
            return {}
        corner = self.turned([self.reference])[0]
        curves: dict[str, list[Point]] = {}
        for row, place in self.placed():
            curves.setdefault(row.curve, []).append(place)
        found = {name: hypervolume(self.turned(places), corner) for name, places in curves.items()}
        everything = [place for places in curves.values() for place in places]
        return found | ({"all": hypervolume(self.turned(everything), corner)} if len(curves) > 1 else {})

    def as_dict(self) -> dict[str, Any]:
        """Everything, in values that JSON can hold; the same for the same results."""
        best = {id(row) for row in self.front()}
        return {
            "axes": list(self.axes) if self.axes else None,
            "reference": list(self.reference),
            "points": [
                {
                    "method": row.spot.method,
                    "settings": dict(row.spot.settings),
                    "curve": row.curve,
                    "along": row.spot.along,
                    "front": id(row) in best,
                    "scores": {name: vars(value) | {"by_concept": dict(value.by_concept)}
                               for name, value in row.values.items()},
                    **({"lost": row.lost} if row.lost else {}),
                }
                for row in self.rows
            ],
            "hypervolume": self.volumes(),
            "failures": [{"job": failure.label, "why": failure.why} for failure in self.failures],
        }  # fmt: skip


def table(
    plan: Plan,
    store: Store,
    lost: Mapping[str, Failure],
    axes: tuple[str, str] | None,
    reference: Point | None,
    lower: frozenset[str],
) -> Table:
    """Read the results of a plan."""
    rows = tuple(_row(spot, store, lost) for spot in plan.spots)
    failures = tuple({failure.label: failure for failure in lost.values()}.values())
    return Table(rows, axes, reference or (0.0, 0.0), lower, failures)


def _row(spot: Spot, store: Store, lost: Mapping[str, Failure]) -> Row:
    values: dict[str, Value] = {}
    why = [lost[address].label for cell in spot.cells for address in cell.scores.values() if address in lost]
    for metric in spot.cells[0].scores:
        if all(store.has(cell.scores[metric]) for cell in spot.cells):
            values[metric] = _value(metric, spot.cells, store)
    return Row(spot, values, why[0] if why else "")


def _value(metric: str, cells: Sequence[Cell], store: Store) -> Value:
    scores = [store.result(cell.scores[metric]) for cell in cells]
    means = [float(score["mean"]) for score in scores]
    errors = [score["standard_error"] for score in scores]
    count = len(cells)
    return Value(
        math.fsum(means) / count,
        None if None in errors else math.hypot(*errors) / count,
        statistics.stdev(means) / math.sqrt(count) if count > 1 else None,
        sum(int(score["n"]) for score in scores),
        sum(int(score.get("without_value", 0)) for score in scores),
        {cell.concept: mean for cell, mean in zip(cells, means, strict=True)},
    )
