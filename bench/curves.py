"""Two trade-off curves compared: how much higher one lies than the other where both reach.

A curve is what a sweep of strengths gives, (x, y) for each, joined in the order of the strengths: mean curves over the
units (pictures, or objects where it is objects that were learned). The difference is the mean over the x that both
reach; where a bent curve passes an x several times its heights there are averaged. Its error is the standard deviation
over resamples of the units (a bootstrap, both curves of the same units), a little widened for their few number. Where
the curves share no x, or one resample in ten has none, nothing is decided; nor is it of one unit.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from results import Value

Curves = Mapping[str, Sequence[tuple[float, float]]]
"""(x, y) of every strength, in their order, by unit."""

APART = "the curves share no point"
DRAWS, PLACES, SURE = 1000, 33, 0.9


def over(one: Curves, other: Curves, *, seed: int = 0) -> Value:
    """How much higher `one` lies than `other` at equal x. Without an error nothing is decided; the note says why."""
    import numpy as np

    names = sorted(one.keys() & other.keys())
    if not names:
        return Value(0.0, note="nothing was measured of both")
    first, second = (np.array([curves[name] for name in names], dtype=float) for curves in (one, other))
    gap = _gap(first.mean(0), second.mean(0))
    if gap is None:
        return Value(0.0, note=APART)
    n = len(names)
    if n == 1:
        return Value(gap, note="of one alone, without an error")
    draw, found = np.random.default_rng(seed), list[float]()
    for _ in range(DRAWS):
        mine = draw.integers(n, size=n)
        again = _gap(first[mine].mean(0), second[mine].mean(0))
        found += [] if again is None else [again]
    if len(found) < SURE * DRAWS:
        return Value(gap, note=f"{APART} in {1 - len(found) / DRAWS:.0%} of resamples")
    return Value(gap, float(np.std(found, ddof=1)) * math.sqrt(n / (n - 1)), note=f"{n} resampled")


def _gap(one: Any, other: Any) -> float | None:
    """Of two curves [strength, 2]: the mean difference of their heights over the x that both reach."""
    import numpy as np

    low, high = (f(g(one[:, 0]), g(other[:, 0])) for f, g in ((max, min), (min, max)))
    if low > high:
        return None
    places = np.linspace(low, high, PLACES)
    return float(np.mean(heights(one, places) - heights(other, places)))


def heights(curve: Any, places: Any) -> Any:
    """The curve's heights at these x, all of which it reaches: the mean of its passes."""
    import numpy as np

    (x0, y0), (x1, y1) = curve[:-1].T[:, :, None], curve[1:].T[:, :, None]
    slack = 1e-12 * (1 + np.abs(places))
    inside = (np.minimum(x0, x1) <= places + slack) & (places - slack <= np.maximum(x0, x1))
    flat = x0 == x1
    share = np.where(flat, 0.5, (places - x0) / np.where(flat, 1.0, x1 - x0))
    return (np.where(inside, y0 + share * (y1 - y0), 0.0)).sum(0) / inside.sum(0)
