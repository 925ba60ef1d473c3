"""Curves as inline SVG: the page's font and colours, no identifiers that clash, nothing to load; by
matplotlib.

Axes and words are drawn in `currentColor`, so that they follow a light or a dark page. The same points give
the same bytes.
"""

import hashlib
import io
import math
import re
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from motif.errors import InputError

INK = "#010203"  # stands for currentColor while matplotlib draws
# for white and for black
LINES = ("#3f83d9", "#dd7a2e", "#2f9e6e", "#c4508f", "#8a68d4", "#a98a1f", "#4aa6b5", "#d2574f")
DASHES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (1.2, 1.6)), (0, (6, 2, 1.2, 2)))
FEW = 24  # up to so many points each one is marked


def lines(
    series: Mapping[str, Sequence[tuple[float, float]]],
    xlabel: str,
    ylabel: str,
    *,
    size: tuple[float, float] = (6.4, 3.2),
) -> str:
    """Lines over one pair of axes, as markup for a page; see `motif.report.curve`. Size: inches of 96 px.

    A point that is not finite breaks its line; a series without any finite point is refused.
    """
    import matplotlib
    from markupsafe import Markup
    from matplotlib.figure import Figure

    if not series:
        raise InputError("a curve needs at least one series")
    for name, points in series.items():
        if not any(math.isfinite(x) and math.isfinite(y) for x, y in points):
            raise InputError(f"curve {name!r} has no point to draw")
    library: Any = matplotlib
    with warnings.catch_warnings(), library.rc_context({"svg.fonttype": "none", "svg.hashsalt": "motif"}):
        # a letter that matplotlib's font lacks: it only measures here, the page's font draws
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        figure: Any = Figure(figsize=size, dpi=96, layout="constrained")
        axes = figure.subplots()
        _draw(axes, series)
        axes.set_xlabel(xlabel, color=INK, parse_math=False)
        axes.set_ylabel(ylabel, color=INK, parse_math=False)
        drawn = io.StringIO()
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(drawn, format="svg", transparent=True, metadata=nothing)
    return Markup(inline(drawn.getvalue(), f"{ylabel} over {xlabel}"))


def _draw(axes: Any, series: Mapping[str, Sequence[tuple[float, float]]]) -> None:
    handles: list[Any] = []
    for i, points in enumerate(series.values()):
        handles += axes.plot(
            [x for x, _ in points],
            [y for _, y in points],
            color=LINES[i % len(LINES)],
            linewidth=1.6,
            linestyle=DASHES[i // len(LINES) % len(DASHES)],
            marker="o" if len(points) <= FEW else None,
            markersize=4,
        )
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(INK)
    axes.tick_params(colors=INK, labelsize=9)
    axes.grid(color=INK, alpha=0.12, linewidth=0.8)
    if len(series) > 1:
        legend = axes.legend(
            handles, [str(i) for i in range(len(series))], frameon=False, fontsize=9, labelcolor=INK
        )
        for text, name in zip(
            legend.get_texts(), series, strict=True
        ):  # set here: "_name" is dropped, "$name$" is TeX
            text.set(text=name, parse_math=False)


def inline(svg: str, label: str) -> str:
    """A whole SVG file -> an element of a page: no prolog or namespaces, its own identifiers, a name."""
    from markupsafe import escape

    svg = svg[svg.index("<svg") :].replace(INK, "currentColor")
    svg = re.sub(r'\s+xmlns(:\w+)?="[^"]*"', "", svg)
    mark = "c" + hashlib.blake2b(svg.encode(), digest_size=4).hexdigest()
    svg = re.sub(r'\bid="([^"]+)"', rf'id="{mark}-\1"', svg)
    svg = re.sub(r'href="#([^"]+)"', rf'href="#{mark}-\1"', svg)
    svg = re.sub(r"url\(#([^)]+)\)", rf"url(#{mark}-\1)", svg)
    width, height = re.findall(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', svg)[0]
    scaled = (
        f'viewBox="0 0 {width} {height}" style="max-width: {round(float(width) * 4 / 3)}px"'  # 96 px an inch
    )
    head = f'<svg role="img" aria-label="{escape(label)}" {scaled}>'
    return re.sub(r"^<svg[^>]*>", lambda _: head, svg, count=1).strip()
