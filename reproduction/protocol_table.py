"""What a protocol's rows scored, as a table."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import Any

from protocol_plan import Row

from motif.files import read_json

PART = ".part.json"
"""A score of a row that lacks pictures."""


def table(rows: Sequence[Row]) -> tuple[str, dict[str, Any]]:
    """The table of what was measured, and {row: {measure: values}}."""
    found: dict[str, dict[str, list[float | None]]] = {}
    choices: dict[str, list[str]] = {}
    for row in rows:
        for place in row.scores:
            told = next((p for p in (place, place.with_suffix(PART)) if p.is_file()), None)
            if told is None:
                continue
            score = read_json(told)
            found.setdefault(row.name, {}).setdefault(place.stem, []).extend(score["per_image"])
            named = {key: value for key, value in score["choices"].items() if key != "pairs"}
            how = ", ".join([score["name"], *(f"{key} {value}" for key, value in named.items())])
            if how not in choices.setdefault(place.stem, []):
                choices[place.stem].append(how)
    names = list(dict.fromkeys(name for scores in found.values() for name in scores))
    lines = [f"| row | pictures | {' | '.join(names)} |", "|---" * (len(names) + 2) + "|"]
    for name, scores in found.items():
        count = max(map(len, scores.values()))
        cells = [said(scores.get(measure, []), count) for measure in names]
        lines.append(f"| {name} | {count} | {' | '.join(cells)} |")
    lines += ["", *(f"- {measure}: {'; '.join(how)}" for measure, how in choices.items())]
    return "\n".join(lines) + "\n", found


def said(values: Sequence[float | None], count: int) -> str:
    """Mean ± standard error, which one picture leaves open; how many pictures have a value, where not all do."""
    known = [value for value in values if value is not None]
    if not known:
        return "–"
    error = f"{statistics.stdev(known) / math.sqrt(len(known)):.4f}" if len(known) > 1 else "–"
    return f"{math.fsum(known) / len(known):.4f} ± {error}" + (
        f" ({len(known)})" if len(known) != count else ""
    )
