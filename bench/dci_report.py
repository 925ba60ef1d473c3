"""What `dci.py` writes of its cells: what they say, a table, the trade-off figure, and the page of the docs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

from results import OTHERS, OWN, SEEN, Value

METRICS = ("CLIP-T", "asked", "CLIP-I", "DINO-I")
AGAIN = "overfitted: "
"""Begins the rows of the concept that loses the prompt."""
ABOVE = [f"above {whose} checkpoints{text}" for whose in (OWN, OTHERS) for text in ("", SEEN)]

Rows = Mapping[str, Mapping[str, Value]]

PAGE = """# DCI on pocket

Written by `python bench/dci.py`. {}
![Image alignment over text alignment](pictures/dci.png)

The auxiliary lane's weights by layer size, for the smallest and the largest balance (white is the auxiliary lane):

![Masks](pictures/dci-masks.png)
"""


def head(names: Sequence[str], size: Any, day: date) -> str:
    """What was measured."""
    return (
        f"{', '.join(names)}; {size.prompts} prompts x {size.seeds} seeds each, {size.steps} DDIM steps, "
        f"{size.learning} steps of learning; mean ± standard error over pictures; {day}. A point is above a curve by "
        "its CLIP-I over the front of the checkpoints (and the class word) at equal CLIP-T, or at an equal share of "
        "what was asked for and is seen by the judge; errors are of both, over pictures.\n"
    )


def verdicts(rows: Rows) -> list[str]:
    """What the numbers say, line by line."""
    told: list[str] = []
    for learned, lanes in (("ico", "dci"), ("ico, overfitted", f"{AGAIN}dci")):
        steps = [row for row in rows if row.startswith(f"{learned} ")]
        points = [row for row in rows if row.startswith(f"{lanes} ")]
        if "base class word" in rows and steps:
            for metric, name in (("CLIP-T", "CLIP-T"), ("asked", "what is seen of what was asked for")):
                gap, error = rows[steps[-1]][metric].less(rows["base class word"][metric])
                told.append(f"- {steps[-1]} minus the class word, {name}: {said(gap, error)}.")
        for name in ABOVE if points else ():
            found = [rows[row][name] for row in points if name in rows[row]]
            if not found:
                continue
            up, down = (sum(sign * v.mean > 2 * (v.error or 0.0) for v in found) for sign in (1, -1))
            best = max(points, key=lambda row: rows[row][name].mean)
            value = rows[best][name]
            told.append(
                f"- {lanes}, {name}: {up} of {len(found)} settings by more than two errors, {down} below by as much; "
                f"most {best.removeprefix(AGAIN)}, {said(value.mean, value.error)}."
            )
    return told


def said(gap: float, error: float | None) -> str:
    """A difference and its error."""
    return f"{gap:+.3f}" + ("" if error is None else f" ± {error:.3f}")


def table(rows: Rows, costs: Mapping[str, int]) -> list[str]:
    """The lines of the table."""
    lines = [
        "| | CLIP-T x2.5 | asked for, seen | CLIP-I | DINO-I | evaluations | above its own checkpoints | the same, by "
        "what is seen | above Custom Diffusion's | the same, by what is seen |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row, metrics in rows.items():
        cells = [f"{metrics[m].mean:.3f} ± {metrics[m].error or 0.0:.3f}" for m in METRICS]
        gaps = [said(metrics[m].mean, metrics[m].error) if m in metrics else "" for m in ABOVE]
        lines.append(f"| {row} | {' | '.join(cells)} | {costs[row]} | {' | '.join(gaps)} |")
    return lines


def group(row: str) -> str:
    """The curve that a row is a point of."""
    if " dci " in f" {row}":
        return f"{AGAIN if row.startswith(AGAIN) else ''}DCI, until {row.rpartition(' until ')[2]}"
    return row if row.startswith(("base", "without")) else row.rpartition(" ")[0]


def figure(rows: Rows, path: Path) -> None:
    """Image over text alignment and over what is seen, with standard errors: curves of checkpoints, and one of DCI for
    each `until`; what is of the overfitted concept is dashed."""
    from matplotlib import colormaps
    from matplotlib.figure import Figure

    groups: dict[str, list[str]] = {}
    for row in rows:
        groups.setdefault(group(row), []).append(row)
    drawing = Figure(figsize=(13, 6), dpi=90, layout="constrained")
    for axes, text, label in zip(
        drawing.subplots(1, 2, sharey=True),
        ("CLIP-T", "asked"),
        ("text alignment (CLIP-T)", "place and addition that the judge sees"),
        strict=True,
    ):
        for number, (name, members) in enumerate(groups.items()):
            x, y = ([rows[row][metric] for row in members] for metric in (text, "CLIP-I"))
            axes.errorbar(
                [v.mean for v in x], [v.mean for v in y], xerr=[v.error or 0.0 for v in x],
                yerr=[v.error or 0.0 for v in y], label=name, marker="o", markersize=4,
                color=colormaps["tab20"](2 * number % 20 + 2 * number // 20),
                linewidth=1.5 if len(members) > 1 else 0, linestyle="--" if "overfitted" in name else "-",
                elinewidth=0.5,
            )  # fmt: skip
        axes.set_xlabel(label)
        axes.grid(alpha=0.2)
    drawing.axes[0].set_ylabel("image alignment (CLIP-I)")
    drawing.axes[1].legend(fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    drawing.savefig(path)
