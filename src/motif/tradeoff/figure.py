"""The figure of a trade-off: one metric over the other, a curve for each method, error bars, the front; inline SVG."""

from __future__ import annotations

import io
import warnings
from typing import Any

from motif.drawing import DASHES, INK, LINES, inline
from motif.tradeoff.settings import label
from motif.tradeoff.table import Row, Table


def figure(table: Table, *, size: tuple[float, float] = (7.6, 5.0)) -> str:
    """The curves as markup for a page. Bars are one standard error over pictures; the dotted line is the front."""
    import matplotlib
    from markupsafe import Markup
    from matplotlib.figure import Figure

    assert table.axes is not None
    library: Any = matplotlib
    with warnings.catch_warnings(), library.rc_context({"svg.fonttype": "none", "svg.hashsalt": "motif"}):
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        drawn: Any = Figure(figsize=size, dpi=96, layout="constrained")
        axes = drawn.subplots()
        _curves(axes, table)
        _front(axes, table)
        for name, tell in zip(table.axes, (axes.set_xlabel, axes.set_ylabel), strict=True):
            tell(
                f"{name} ({'less' if name in table.lower else 'more'} is better)", color=INK, parse_math=False
            )
        axes.spines[["top", "right"]].set_visible(False)
        axes.spines[["left", "bottom"]].set_color(INK)
        axes.tick_params(colors=INK, labelsize=9)
        axes.grid(color=INK, alpha=0.12, linewidth=0.8)
        for words in axes.legend(frameon=False, fontsize=9, labelcolor=INK).get_texts():
            words.set(parse_math=False)
        text = io.StringIO()
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        drawn.savefig(text, format="svg", transparent=True, metadata=nothing)
    return Markup(inline(text.getvalue(), f"{table.axes[1]} over {table.axes[0]}"))


def _curves(axes: Any, table: Table) -> None:
    assert table.axes is not None
    curves: dict[str, list[Row]] = {}
    for row, _ in table.placed():
        curves.setdefault(row.curve, []).append(row)
    for i, (name, rows) in enumerate(curves.items()):
        colour, across, up = LINES[i % len(LINES)], table.axes[0], table.axes[1]
        x, y = ([row.values[metric].mean for row in rows] for metric in (across, up))
        ex, ey = ([row.values[metric].error or 0.0 for row in rows] for metric in (across, up))
        axes.errorbar(
            x, y, xerr=ex, yerr=ey, color=colour, ecolor=colour, elinewidth=0.8, capsize=2, linewidth=1.6,
            linestyle=DASHES[i // len(LINES) % len(DASHES)], marker="o", markersize=4.5,
            label=name.lstrip("_") or name,
        )  # fmt: skip
        for row, a, b in zip(rows, x, y, strict=True) if len(rows) > 1 else ():
            told = label(row.spot.settings, [row.spot.along]).removeprefix(f"{row.spot.along} ")
            axes.annotate(
                told,
                (a, b),
                xytext=(5, 4),
                textcoords="offset points",
                fontsize=8,
                color=INK,
                parse_math=False,
            )


def _front(axes: Any, table: Table) -> None:
    """A line through the points that none dominates."""
    assert table.axes is not None
    best = [row.at(table.axes) for row in table.front()]
    places = [place for place in best if place is not None]
    if len(places) > 1:
        x, y = zip(*places, strict=True)
        axes.plot(
            x, y, color=INK, alpha=0.55, linewidth=1.2, linestyle=(0, (1, 2)), drawstyle="steps-pre",
            label="Pareto front", zorder=1,
        )  # fmt: skip
