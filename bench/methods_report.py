"""What `bench/methods.py` writes: a table of single concepts, one of pairs, and the papers' orderings beside ours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

import numpy as np
from machine import processor

BASE = "(the base, class word)"
CD, TI, DB, ALL = "custom-diffusion", "textual-inversion", "dreambooth", "fine-tune-all"
JOINT, MERGE, AFTER = f"{CD}, joint", f"{CD}, merge", f"{CD}, sequential"
TI2, DB2, ALL2 = f"{TI}, both worn", f"{DB}, both worn", f"{ALL}, joint"

Found = Mapping[str, Mapping[str, dict[str, Any]]]
"""{row: {object: what its process found}}."""

ORDERINGS: Sequence[tuple[str, str, str, str, str]] = (
    # (what the papers find, their numbers, metric, the better row, the worse row)
    ("text: Custom Diffusion above Textual Inversion", ".795, .670", "CLIP-T", CD, TI),
    ("text: Custom Diffusion above DreamBooth", ".795, .781", "CLIP-T", CD, DB),
    ("image: Textual Inversion above Custom Diffusion", ".827, .775", "CLIP-I", TI, CD),
    ("image: Custom Diffusion as high as DreamBooth", ".775, .776", "CLIP-I", CD, DB),
    ("image: Custom Diffusion above fine-tune all", ".775, .748", "CLIP-I", CD, ALL),
    ("trade-off: Custom Diffusion above Textual Inversion", "figure 8", "trade-off", CD, TI),
    ("trade-off: Custom Diffusion above DreamBooth", "figure 8", "trade-off", CD, DB),
    ("trade-off: Custom Diffusion above fine-tune all", "figure 8", "trade-off", CD, ALL),
    ("image: no augmentation lowers it", ".775, .736", "CLIP-I", f"{CD}, augmented", CD),
    ("drift: no prior raises it", "KID 32.6, 21.0", "drift", f"{CD}, no prior", CD),
    ("drift: DreamBooth's above Custom Diffusion's", "KID 32.5, 21.0", "drift", DB, CD),
    ("trade-off: ICO above manual templates", "ICO, figure 8", "trade-off", "ico", f"{CD}, templates"),
    ("pairs, text: joint above Textual Inversion", ".801, .544", "CLIP-T", JOINT, TI2),
    ("pairs, text: merge above Textual Inversion", ".800, .544", "CLIP-T", MERGE, TI2),
    ("pairs, text: joint above DreamBooth", ".801, .783", "CLIP-T", JOINT, DB2),
    ("pairs, text: merge above DreamBooth", ".800, .783", "CLIP-T", MERGE, DB2),
    ("pairs, image: joint above Textual Inversion", ".706, .630", "CLIP-I", JOINT, TI2),
    ("pairs, image: merge above Textual Inversion", ".695, .630", "CLIP-I", MERGE, TI2),
    ("pairs, image: joint above DreamBooth", ".706, .695", "CLIP-I", JOINT, DB2),
    ("pairs, image: joint above merge", ".706, .695", "CLIP-I", JOINT, MERGE),
    ("pairs, image: joint above sequential", ".706, .700", "CLIP-I", JOINT, AFTER),
    ("pairs, image: joint above fine-tune all", ".706, .691", "CLIP-I", JOINT, ALL2),
)


def pictures(found: Found, row: str, metric: str, name: str) -> np.ndarray:
    """One value per picture of one object. The trade-off is how far CLIP-I has come from the base's class word (0) to
    unseen views of the object (1), and CLIP-T as a share of the base's."""
    one, base = found[row][name], found[BASE][name]
    if metric != "trade-off":
        return np.asarray(one[metric], dtype=float)
    floor = float(np.mean(base["CLIP-I"]))
    image = (np.asarray(one["CLIP-I"]) - floor) / (base["ceiling"] - floor)
    return image + np.asarray(one["CLIP-T"]) / float(np.mean(base["CLIP-T"]))


def spread(values: Sequence[np.ndarray]) -> tuple[float, float, float]:
    """Mean over all pictures, its standard error, and that over the objects' means."""
    every, means = np.concatenate(values), np.asarray([one.mean() for one in values])
    within, across = (x.std(ddof=1) / len(x) ** 0.5 if len(x) > 1 else float("nan") for x in (every, means))
    return float(every.mean()), float(within), float(across)


def table(found: Found, pairs: bool) -> list[str]:
    """A line for each row whose objects are pairs, or are not."""
    heads = (
        "",
        "CLIP-I",
        "DINO-I",
        "CLIP-T x2.5",
        "trade-off",
        "drift",
        "moved",
        "seconds",
        "peak MB",
        "file MB",
        "objects",
    )
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for row, objects in found.items():
        names = [name for name in objects if ("+" in name) == pairs and name in found[BASE]]
        if not names:
            continue
        cells = [
            cell(found, row, metric, names) for metric in ("CLIP-I", "DINO-I", "CLIP-T", "trade-off", "drift")
        ]
        costs = [objects[name]["cost"] for name in names]
        if all(costs):
            mean = {key: float(np.mean([cost[key] for cost in costs])) for key in costs[0]}
            cells += [f"{100 * mean['moved']:.2f} %", f"{mean['seconds']:.0f}"]
            cells += [f"{max(cost['peak'] for cost in costs) / 1e6:.0f}", f"{mean['bytes'] / 1e6:.2f}"]
        else:
            cells += ["", "", "", ""]
        lines.append(f"| {row} | {' | '.join(cells)} | {len(names)} |")
    return lines


def cell(found: Found, row: str, metric: str, names: Sequence[str]) -> str:
    """One metric of one row."""
    mean, within, across = spread([pictures(found, row, metric, name) for name in names])
    return f"{mean:.3f} ± {within:.3f} ({across:.3f})" if len(names) > 1 else f"{mean:.3f} ± {within:.3f}"


def orderings(found: Found) -> list[str]:
    """Each of the papers' orderings: the difference here, picture by picture (same prompts, same seeds)."""
    lines = ["| the papers | their numbers | difference here | here |", "|---|---|---|---|"]
    for told, numbers, metric, better, worse in ORDERINGS:
        names = [n for n in found.get(better, {}) if n in found.get(worse, {}) and n in found[BASE]]
        if not names:
            lines.append(f"| {told} | {numbers} | | not measured |")
            continue
        gaps = [pictures(found, better, metric, n) - pictures(found, worse, metric, n) for n in names]
        mean, within, across = spread(gaps)
        verdict = "undecided" if abs(mean) < 2 * within else "holds" if mean > 0 else "does not hold"
        if "as high as" in told:
            verdict = "holds" if abs(mean) < 2 * within else "above" if mean > 0 else "below"
        lines.append(f"| {told} | {numbers} | {mean:+.3f} ± {within:.3f} ({across:.3f}) | {verdict} |")
    return lines


def report(found: Found, asked: Mapping[str, Any]) -> str:
    """All of it, with the command, the machine and the date."""
    opening = (
        f"pocket; objects {asked['concepts']}; pairs {asked['pairs']}; {asked['prompts']} prompts x "
        f"{asked['seeds']} seeds (0 to {asked['seeds'] - 1}) each, {asked['drawing']} DDIM steps; settings: the base's "
        f"advice; {processor()}, {asked['threads']} thread a process, {date.today()}. "
        "Mean ± standard error over pictures (over objects)."
    )
    if asked["quick"]:
        opening += " **Quick: two training steps; no figure means anything.**"
    parts = ["## One concept", *table(found, False), "", "## Two concepts", *table(found, True), ""]
    rule = "Differences are of pictures of the same prompt and seed; holds: more than two standard errors above 0; "
    rule += "does not hold: as far below; undecided: between."
    parts += ["## The papers' orderings", "", rule, "", *orderings(found)]
    return "\n".join([opening, "", *parts]) + "\n"
