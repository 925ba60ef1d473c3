"""ICO's figure 8 on held-out objects: more vectors of the word, and more contexts around it.

`python bench/ico_schemes.py` learns four objects with ICO, the word of one, two and three vectors (contexts 4 + 2), and
two vectors with contexts of 1 + 1 beside the 4 + 2, each at pocket's advised rates for two numbers of steps; draws
eight prompts with four seeds and scores them. A point is the mean over both numbers of steps, picture by picture: one
value of each prompt and seed, so that an error is over pictures that were drawn by chance and not over one picture
twice. Leaves OUT/ico-schemes/cells for `make reproduction`, and the figure's differences with their standard errors in
OUT/ico-schemes/ico-schemes.md; what is there is not made again. About 25 minutes of one core; `--quick` is one object
and two steps, to see that it runs.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cells import cell, exam, known_by, learned
from results import Value, with_trade_off

OBJECTS = ("boat", "cactus", "car", "cat")
BASE = "base, class word"
SCHEMES: dict[str, dict[str, Any]] = {
    "vectors 1": {"vectors": 1},
    "vectors 2": {"vectors": 2},
    "vectors 3": {"vectors": 3},
    "contexts 2": {"before": 1, "after": 1, "vectors": 2},
}
"""What each row sets; "contexts 6" is "vectors 2", the scheme's own, under the name that figure 8's claim compares."""

FIGURE = (
    ("vectors 2", "vectors 1"),
    ("vectors 3", "vectors 2"),
    ("vectors 3", "vectors 1"),
    ("contexts 6", "contexts 2"),
)
"""Which points of figure 8 are compared: more vectors of the word, more contexts around it."""


def averaged(points: Sequence[Mapping[str, Sequence[float | None]]]) -> dict[str, list[float | None]]:
    """The mean of several numbers of steps, picture by picture; None where one of them has no value."""
    return {
        metric: [
            None if None in values else sum(v for v in values if v is not None) / len(values)
            for values in zip(*(point[metric] for point in points), strict=True)
        ]
        for metric in points[0]
    }


def figure(rows: Mapping[str, Mapping[str, Value]]) -> list[str]:
    """The figure's points and their differences, paired by picture, each with its standard error."""
    metrics = [name for name in ("CLIP-I", "DINO-I", "CLIP-T", "trade-off") if name in rows["vectors 2"]]
    lines = [f"| | {' | '.join(metrics)} |", "|---" * (len(metrics) + 1) + "|"]
    for row in (BASE, *SCHEMES, "contexts 6"):
        told = (told_of(rows[row][m].mean, rows[row][m].error) if m in rows[row] else "" for m in metrics)
        lines.append(f"| {row} | {' | '.join(told)} |")
    for more, less in FIGURE:
        told = (told_of(*rows[more][m].less(rows[less][m]), sign="+") for m in metrics)
        lines.append(f"| {more} - {less} | {' | '.join(told)} |")
    return lines


def told_of(mean: float, error: float | None, sign: str = "") -> str:
    """ "0.503 ± 0.008"."""
    return f"{mean:{sign}.3f}" + ("" if error is None else f" ± {error:.3f}")


def main() -> None:
    """Learn, draw, score."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("-o", "--out", type=Path, default=Path("out/bench"))
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--quick", action="store_true")
    asked = parser.parse_args()
    if asked.quick:
        asked.out /= "quick"  # its cells are no results
    from motif.base import Base
    from motif.pocket.concepts import held_out

    base, by_name = Base.load("pocket", device="cpu"), {subject.name: subject for subject in held_out()}
    few: dict[str, Any] = {"prior_count": 2, "prior_steps": 1} if asked.quick else {}
    how: dict[str, Any] = {"prompts": 8, "seeds": asked.seeds, "steps": 25}
    how |= {"prompts": 1, "seeds": 1, "steps": 2} if asked.quick else {}
    folder, steps = asked.out / "ico-schemes", (1, 2) if asked.quick else (100, 200)
    for name in OBJECTS[:1] if asked.quick else OBJECTS:
        subject, known = by_name[name], known_by(base, how, few, steps)
        cell(folder / "cells", name, BASE, known, lambda s=subject: exam(s, base, s.noun, **how))
        for row, settings in SCHEMES.items():

            def scored(subject: Any = subject, settings: dict[str, Any] = settings) -> dict[str, Any]:
                """Both numbers of steps: a point of the figure is their mean."""
                points: list[dict[str, list[Any]]] = []
                for count in steps:
                    concept, _ = learned(
                        base, subject, "ico", folder / "concepts", steps=count, **settings, **few
                    )
                    points.append(exam(subject, base.wear(concept), f"<new1> {subject.noun}", **how))
                return averaged(points)

            scores = cell(folder / "cells", name, row, known, scored, by=["learn ico"])
            if row == "vectors 2":
                cell(folder / "cells", name, "contexts 6", known, lambda told=scores: told, by=["learn ico"])
    table = "\n".join(figure(with_trade_off(folder / "cells")))
    (folder / "ico-schemes.md").write_text(table + "\n", encoding="utf-8")
    print(table)


if __name__ == "__main__":
    main()
