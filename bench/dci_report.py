"""What `dci.py` writes of its cells: a table, the trade-off figure, and the page of the docs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

METRICS = ("CLIP-T", "asked", "CLIP-I", "DINO-I")
LEARNED = ("ico", "custom-diffusion")
"""The methods whose checkpoints are the curves."""

PAGE = """# DCI on pocket

Written by `python bench/dci.py`. {}
Read on 2026-11-23. By CLIP-T there is nothing to win back: these concepts, learned on masked photos, say the prompt as
well as the class word does. No setting lies above the checkpoints' curve by more than its error, and large balances
lose the object. What the judge sees of the prompt rises with the balance to the class word's share, as the paper has
it, but by one standard error; the three ablations are below it there. The masks are as they should be: dark on the
object, light around it, more decided the coarser the layer. The card's laws are tests, and hold. So it seems to be the
base, where there is little to repair, and not the code; concepts that do lose the prompt were not tried.

![Image alignment over text alignment](pictures/dci.png)

The auxiliary lane's weights by layer size, for the smallest and the largest balance (white is the auxiliary lane):

![Masks](pictures/dci-masks.png)
"""


def mean(values: Sequence[float]) -> tuple[float, float]:
    """Mean and standard error."""
    found = np.asarray(values, dtype=float)
    return float(found.mean()), float(found.std(ddof=1) / len(found) ** 0.5)


def above(point: tuple[float, float], curve: Sequence[tuple[float, float]]) -> float:
    """How much more image alignment a (text, image) point has than a curve's front at its text alignment; beyond the
    front's ends it is compared with the end. The front are the points that no other beats in both."""
    front = sorted(
        (x, y) for x, y in curve if not any(a >= x and b >= y and (a, b) != (x, y) for a, b in curve)
    )
    return point[1] - float(np.interp(point[0], [x for x, _ in front], [y for _, y in front]))


def table(
    found: dict[str, list[dict[str, list[float]]]], costs: dict[str, int]
) -> tuple[list[str], dict[str, Any]]:
    """The lines of the table, and {row: {metric: (mean, error)}}."""
    means = {
        row: {m: mean([value for one in cells for value in one[m]]) for m in METRICS}
        for row, cells in found.items()
    }
    lines = [
        "| | CLIP-T x2.5 | asked for, seen | CLIP-I | DINO-I | evaluations | above ICO's checkpoints, by CLIP-T and by "
        "what is seen | above Custom Diffusion's |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row, m in means.items():
        gaps: list[str] = []
        for name in LEARNED:
            each: list[str] = []
            for text in ("CLIP-T", "asked"):
                point = {r: (v[text][0], v["CLIP-I"][0]) for r, v in means.items()}
                curve = [point[r] for r in point if r.startswith((f"{name} ", "base"))]
                each.append(f"{above(point[row], curve):+.3f}")
            gaps.append(", ".join(each) if row.startswith(("dci", "without")) else "")
        cells = [f"{m[name][0]:.3f} ± {m[name][1]:.3f}" for name in METRICS]
        lines.append(f"| {row} | {' | '.join(cells)} | {costs[row]} | {' | '.join(gaps)} |")
    return lines, means


def figure(means: dict[str, Any], path: Path) -> None:
    """Image over text alignment and over what is seen, with standard errors: two curves of checkpoints, one of DCI for
    each `until`."""
    from matplotlib.figure import Figure

    groups: dict[str, list[str]] = {}
    for row in means:
        if row.startswith("dci"):
            name = f"DCI, until {row.rpartition(' until ')[2]}"
        else:
            name = row if row.startswith(("base", "without")) else row.rpartition(" ")[0]
        groups.setdefault(name, []).append(row)
    drawing = Figure(figsize=(13, 5.5), dpi=90, layout="constrained")
    for axes, text, label in zip(
        drawing.subplots(1, 2, sharey=True),
        ("CLIP-T", "asked"),
        ("text alignment (CLIP-T)", "place and addition that the judge sees"),
        strict=True,
    ):
        for name, rows in groups.items():
            x, y = ([means[row][metric] for row in rows] for metric in (text, "CLIP-I"))
            axes.errorbar(
                [a for a, _ in x], [b for b, _ in y], xerr=[e for _, e in x], yerr=[e for _, e in y],
                label=name, marker="o", markersize=4, linewidth=1.5 if len(rows) > 1 else 0, elinewidth=0.5,
            )  # fmt: skip
        axes.set_xlabel(label)
        axes.grid(alpha=0.2)
    drawing.axes[0].set_ylabel("image alignment (CLIP-I)")
    drawing.axes[1].legend(fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    drawing.savefig(path)
