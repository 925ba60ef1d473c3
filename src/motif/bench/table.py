"""The table, as Markdown and as JSON: medians of the turns, and the ratio of every turn's pair with its spread."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from statistics import median
from typing import Any, Literal

from motif.bench.machine import memory, processor
from motif.bench.plan import Row
from motif.versions import versions

What = Literal["all", "speed", "memory"]


@dataclass(frozen=True)
class Measured:
    """A row's turns, or why there are none."""

    row: Row
    ours: tuple[dict[str, Any], ...] = ()
    plain: tuple[dict[str, Any], ...] = ()
    error: str = ""
    lost: str = ""  # why the plain side is not there, of a row that has one

    def middle(self, key: str, *, plain: bool = False) -> float | None:
        """The median of the turns."""
        values = [turn[key] for turn in (self.plain if plain else self.ours) if turn.get(key) is not None]
        return median(values) if values else None

    def ratios(self) -> list[float]:
        """How many times as fast ours is, of each turn; by steps per second where something is learned, since what is
        done once, before the first step, is not what a run takes."""
        pairs = list(zip(self.ours, self.plain, strict=False))
        if self.row.verb == "learn" and all(turn["rate"] for pair in pairs for turn in pair):
            return [ours["rate"] / plain["rate"] for ours, plain in pairs]
        return [plain["seconds"] / ours["seconds"] for ours, plain in pairs]

    def data(self) -> dict[str, Any]:
        """As JSON."""
        told = {
            "name": self.row.name,
            "peer": self.row.peer,
            "alone": self.row.alone,
            "motif": list(self.ours),
        }
        told |= {"plain": list(self.plain), "ratios": self.ratios(), "error": self.error, "lost": self.lost}
        return {**self.row.data(), **told}


@dataclass(frozen=True)
class Report:
    """All rows, and what they were measured on."""

    rows: tuple[Measured, ...]
    base: str
    turns: int
    quick: bool

    @property
    def on(self) -> dict[str, Any]:
        """The machine and the versions."""
        first = next(one.ours[0]["on"] for one in self.rows if one.ours)
        return {"processor": processor(), "cores": os.cpu_count(), "memory": memory(), "system": platform.platform(),
                **first, "versions": versions(), "date": self.dates}  # fmt: skip

    @property
    def dates(self) -> str:
        """When it was measured: a day, or from one to another where it was stopped between."""
        days = sorted(
            {turn["at"][:10] for one in self.rows for turn in (*one.ours, *one.plain) if "at" in turn}
        )
        days = days or [str(date.today())]
        return days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}"

    def data(self) -> dict[str, Any]:
        """As JSON."""
        return {"base": self.base, "turns": self.turns, "quick": self.quick, "on": self.on,
                "rows": [one.data() for one in self.rows]}  # fmt: skip

    def text(self, what: What = "all") -> str:
        """As Markdown.

        Args:
            what: The columns: speed, memory (and file sizes), or all.
        """
        on = self.on
        told = ", ".join(f"{name} {version}" for name, version in on["versions"].items())
        lines = [
            f"Base {self.base} ({on['size']} px) on {on['device']}, {on['precision']}, {on['threads']} threads, "
            f"{self.turns} turns each{', a few steps of everything (quick): to see that it runs' * self.quick}.",
            f"{on['processor']}, {on['cores']} cores, {on['memory'] / 2**30:.0f} GiB, {on['system']}; {told}; "
            f"{on['date']}.",
        ]
        for title, chosen in (("", [m for m in self.rows if not m.row.grows]),
                              ("How it grows", [m for m in self.rows if m.row.grows])):  # fmt: skip
            if measured := [one for one in chosen if one.ours]:
                lines += ["", *([f"### {title}", ""] if title else []), *table(measured, what)]
        lines += ["", "Every row is a process of its own. Peak: the most that it held while the timed call ran, "
                  "libraries and this side's weights included (of a GPU: what was taken of its memory); networks that "
                  "only the other side works with are put away before. Evaluations are rows through the denoiser. "
                  "Ratio: the plain side's time over motif's, median of the turns (least to greatest); of learning, by "
                  "steps/s."]  # fmt: skip
        if any(turn.get("peak_of") == "the process" for one in self.rows for turn in (*one.ours, *one.plain)):
            lines.append("This system keeps a process's peak for ever: what came before the call is in it, of a plain "
                         "side the base's weights beside its own copy.")  # fmt: skip
        lines += [f"Plain {one.row.name}: {one.row.peer}." for one in self.rows if one.plain]
        lines += [
            f"No peer: {one.row.name}: {one.row.alone}." for one in self.rows if one.ours and one.row.alone
        ]
        lines += [f"Plain {one.row.name}: not measured: {one.lost}" for one in self.rows if one.lost]
        lines += [f"Not measured: {one.row.name}: {one.error}" for one in self.rows if one.error]
        return "\n".join(lines)


def table(rows: Sequence[Measured], what: What) -> list[str]:
    """Rows under their heads."""
    plain = any(one.plain for one in rows)
    heads = {
        "seconds": "speed",
        "steps/s": "speed",
        "evaluations": "speed",
        "peak, MB": "memory",
        "file, kB": "memory",
    }
    if plain:
        heads |= {
            "plain: seconds": "speed",
            "plain: steps/s": "speed",
            "plain: evaluations": "speed",
            "ratio": "speed",
            "plain: peak, MB": "memory",
        }
    shown = [head for head, kind in heads.items() if what in ("all", kind)]
    lines = [f"| | {' | '.join(shown)} |", "|---|" + "---|" * len(shown)]
    for one in rows:
        cells = {
            "seconds": _number(one.middle("seconds")),
            "steps/s": _number(one.middle("rate")),
            "evaluations": _number(one.middle("evaluations"), whole=True),
            "peak, MB": _number(one.middle("peak"), 1e-6, whole=True),
            "file, kB": _number(one.middle("bytes"), 1e-3),
            "plain: seconds": _number(one.middle("seconds", plain=True)),
            "plain: steps/s": _number(one.middle("rate", plain=True)),
            "plain: evaluations": _number(one.middle("evaluations", plain=True), whole=True),
            "plain: peak, MB": _number(one.middle("peak", plain=True), 1e-6, whole=True),
            "ratio": "none" if one.row.alone else _spread(one.ratios()),
        }
        lines.append(f"| {one.row.name} | {' | '.join(cells[head] for head in shown)} |")
    return lines


def _number(value: float | None, scale: float = 1.0, *, whole: bool = False) -> str:
    if value is None:
        return ""
    return f"{value * scale:.0f}" if whole or value * scale >= 1000 else f"{value * scale:.3g}"


def _spread(ratios: Sequence[float]) -> str:
    if not ratios:
        return ""
    return f"{median(ratios):.2f}x" + (
        f" ({min(ratios):.2f} to {max(ratios):.2f})" if len(ratios) > 1 else ""
    )
