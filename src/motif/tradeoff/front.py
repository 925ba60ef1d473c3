"""What is best where two things are wanted: the Pareto front, and how much of the plane it dominates.

    a dominates b      a is at least as good in both, and better in one
    hypervolume        the area between the front and a reference point that is worse than all of it

(Zitzler & Thiele 1998, in two dimensions.) Points are (x, y), larger is better; where smaller is, the sign is turned
before (`signs`).
"""

from __future__ import annotations

import math
from collections.abc import Container, Sequence

from motif.errors import InputError

Point = tuple[float, float]


def signs(axes: tuple[str, str], lower: Container[str]) -> Point:
    """What to multiply both values by, so that larger is better; `lower` are the metrics of which less is."""
    across, up = (-1.0 if name in lower else 1.0 for name in axes)
    return across, up


def dominates(a: Point, b: Point) -> bool:
    """Whether a is at least as good as b in both, and better in one."""
    return a[0] >= b[0] and a[1] >= b[1] and a != b


def front(points: Sequence[Point]) -> list[int]:
    """The points that none dominates, by their places, from left to right; of equal points all."""
    if strange := [point for point in points if not all(map(math.isfinite, point))]:
        raise InputError(f"a front of {strange[0]}: both must be finite numbers")
    best, found = -math.inf, list[int]()
    order = sorted(range(len(points)), key=lambda i: (-points[i][0], -points[i][1]))
    for i in order:
        x, y = points[i]
        if y > best or (found and (x, y) == points[found[-1]]):
            found.append(i)
            best = max(best, y)
    return found[::-1]


def hypervolume(points: Sequence[Point], reference: Point) -> float:
    """The area that is dominated by some point and dominates the reference. Points that do not beat it add nothing."""
    beating = [point for point in points if point[0] > reference[0] and point[1] > reference[1]]
    area, left = 0.0, reference[0]
    for i in front(beating):
        x, y = beating[i]
        area += (x - left) * (y - reference[1])
        left = x
    return area
