"""The front and its hypervolume: cases by hand, and laws."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from motif.errors import InputError
from motif.tradeoff.front import dominates, front, hypervolume, signs

NUMBERS = st.integers(-8, 8).map(lambda n: n / 4)
POINTS = st.lists(st.tuples(NUMBERS, NUMBERS), max_size=12)


def test_a_front_by_hand() -> None:
    points = [(1.0, 3.0), (2.0, 2.0), (3.0, 1.0), (1.0, 1.0), (2.0, 1.5), (0.0, 3.0)]
    assert front(points) == [0, 1, 2]
    assert front([]) == [] and front([(1.0, 1.0)]) == [0]
    assert front([(1.0, 1.0), (1.0, 1.0)]) in ([0, 1], [1, 0])


@pytest.mark.parametrize(
    ("points", "area"),
    [
        ([], 0.0),
        ([(2.0, 3.0)], 6.0),
        ([(1.0, 2.0), (2.0, 1.0)], 3.0),
        ([(1.0, 2.0), (2.0, 1.0), (1.0, 1.0)], 3.0),
        ([(1.0, 3.0), (2.0, 2.0), (3.0, 1.0)], 6.0),
        ([(-1.0, 5.0), (5.0, 0.0)], 0.0),
    ],
)
def test_areas_by_hand(points: list[tuple[float, float]], area: float) -> None:
    assert hypervolume(points, (0.0, 0.0)) == pytest.approx(area)


@given(POINTS)
def test_the_front_is_what_nothing_dominates(points: list[tuple[float, float]]) -> None:
    found = front(points)
    wanted = {i for i, p in enumerate(points) if not any(dominates(q, p) for q in points)}
    assert set(found) == wanted and len(found) == len(wanted)
    assert [points[i][0] for i in found] == sorted(points[i][0] for i in found)


@given(POINTS, st.tuples(NUMBERS, NUMBERS))
def test_the_area_counts_the_cells_that_are_dominated(
    points: list[tuple[float, float]], corner: tuple[float, float]
) -> None:
    """Every number is a multiple of 1/4, so that the plane is squares of side 1/4, each in or out as a whole."""
    side, reach = 0.25, 2.0
    cells = round((reach - corner[0]) / side) * [0.0], round((reach - corner[1]) / side) * [0.0]
    inside = sum(
        any(p[0] >= corner[0] + (i + 1) * side and p[1] >= corner[1] + (j + 1) * side for p in points)
        for i in range(len(cells[0]))
        for j in range(len(cells[1]))
    )
    assert hypervolume(points, corner) == pytest.approx(inside * side * side)


@given(POINTS, st.tuples(NUMBERS, NUMBERS), NUMBERS, NUMBERS)
def test_another_point_never_takes_area_away_and_moving_everything_changes_nothing(
    points: list[tuple[float, float]], more: tuple[float, float], dx: float, dy: float
) -> None:
    corner = (-1.0, -1.0)
    area = hypervolume(points, corner)
    assert hypervolume([*points, more], corner) >= area
    assert hypervolume(points[::-1], corner) == pytest.approx(area)
    moved = [(x + dx, y + dy) for x, y in points]
    assert hypervolume(moved, (corner[0] + dx, corner[1] + dy)) == pytest.approx(area)


def test_a_point_that_is_no_number_is_refused_and_less_kid_is_better() -> None:
    with pytest.raises(InputError, match="finite"):
        front([(math.nan, 1.0)])
    assert signs(("clip-t", "kid"), {"kid"}) == (1.0, -1.0)
