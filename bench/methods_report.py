"""What `bench/methods.py` writes: a table of single concepts, one of pairs, and the papers' orderings beside ours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from math import isnan
from typing import Any

import numpy as np
from machine import processor

BASE = "(the base, class word)"
CD, TI, DB, ALL = "custom-diffusion", "textual-inversion", "dreambooth", "fine-tune-all"
JOINT, MERGE, AFTER = f"{CD}, joint", f"{CD}, merge", f"{CD}, sequential"
TI2, DB2, ALL2 = f"{TI}, both worn", f"{DB}, joint", f"{ALL}, joint"

Found = Mapping[str, Mapping[str, dict[str, Any]]]
"""{row: {object: what its process found}}."""

ORDERINGS: Sequence[tuple[str, str, str, str, str]] = (
    # (what the papers find, their numbers, metric, the better row, the worse row)
    ("text: Custom Diffusion above Textual Inversion", ".795, .670", "CLIP-T", CD, TI),
    ("text: Custom Diffusion above DreamBooth", ".795, .781", "CLIP-T", CD, DB),
    ("image: Textual Inversion above Custom Diffusion", ".827, .775", "CLIP-I", TI, CD),
    ("image: Custom Diffusion as high as DreamBooth", ".775, .776", "CLIP-I", CD, DB),
    ("image: Textual Inversion of four times the steps above Custom Diffusion", ".827, .775", "CLIP-I",
     f"{TI}, four times the steps", CD),
    ("text: Custom Diffusion above Textual Inversion of four times the steps", ".795, .670", "CLIP-T", CD,
     f"{TI}, four times the steps"),
    ("text: Custom Diffusion above DreamBooth at four times the rate", ".795, .781", "CLIP-T", CD,
     f"{DB}, four times the rate"),
    ("image: Custom Diffusion as high as DreamBooth at four times the rate", ".775, .776", "CLIP-I", CD,
     f"{DB}, four times the rate"),
    ("trade-off: Custom Diffusion above DreamBooth at four times the rate", "figure 8", "trade-off", CD,
     f"{DB}, four times the rate"),
    ("image: Custom Diffusion above fine-tune all", ".775, .748", "CLIP-I", CD, ALL),
    ("trade-off: Custom Diffusion above Textual Inversion", "figure 8", "trade-off", CD, TI),
    ("trade-off: Custom Diffusion above DreamBooth", "figure 8", "trade-off", CD, DB),
    ("trade-off: Custom Diffusion above fine-tune all", "figure 8", "trade-off", CD, ALL),
    ("image: no augmentation lowers it", ".775, .736", "CLIP-I", f"{CD}, augmented", CD),
    ("drift: no prior raises it", "KID 32.6, 21.0", "drift", f"{CD}, no prior", CD),
    ("drift: DreamBooth's above Custom Diffusion's", "KID 32.5, 21.0", "drift", DB, CD),
    ("trade-off: ICO above manual templates", "ICO, figure 8", "trade-off", "ico", f"{CD}, templates"),
    ("trade-off: ICO of one vector above manual templates", "ICO, figure 8", "trade-off", "ico, one vector",
     f"{CD}, templates"),
    ("trade-off: ICO, contexts ten times as fast, above manual templates", "ICO, figure 8", "trade-off",
     "ico, contexts ten times", f"{CD}, templates"),
    ("trade-off: ICO above manual templates, photos learned whole", "ICO, figure 8", "trade-off",
     "ico, whole photos", f"{CD}, whole photos, templates"),
    ("pairs, text: joint above Textual Inversion", ".801, .544", "CLIP-T", JOINT, TI2),
    ("pairs, text: merge above Textual Inversion", ".800, .544", "CLIP-T", MERGE, TI2),
    ("pairs, text: joint above DreamBooth", ".801, .783", "CLIP-T", JOINT, DB2),
    ("pairs, text: merge above DreamBooth", ".800, .783", "CLIP-T", MERGE, DB2),
    ("pairs, text: joint above fine-tune all", ".801, .787", "CLIP-T", JOINT, ALL2),
    ("pairs, text: merge above fine-tune all", ".800, .787", "CLIP-T", MERGE, ALL2),
    ("pairs, image: joint above Textual Inversion", ".706, .630", "CLIP-I", JOINT, TI2),
    ("pairs, image: merge above Textual Inversion", ".695, .630", "CLIP-I", MERGE, TI2),
    ("pairs, image: joint above DreamBooth", ".706, .695", "CLIP-I", JOINT, DB2),
    ("pairs, image: merge as high as DreamBooth", ".695, .695", "CLIP-I", MERGE, DB2),
    ("pairs, image: joint above merge", ".706, .695", "CLIP-I", JOINT, MERGE),
    ("pairs, image: joint above sequential", ".706, .700", "CLIP-I", JOINT, AFTER),
    ("pairs, image: joint above fine-tune all", ".706, .691", "CLIP-I", JOINT, ALL2),
    ("pairs, image of the first: joint above sequential", ".702, .674", "CLIP-I of the first", JOINT, AFTER),
    *(
        (f"pairs, trade-off: {mine.rpartition(' ')[2]} above {name}", "tables 1 and 8", "trade-off", mine, other)
        for mine in (JOINT, MERGE)
        for name, other in (
            ("sequential", AFTER), ("Textual Inversion", TI2), ("DreamBooth", DB2), ("fine-tune all", ALL2),
        )
    ),
)  # fmt: skip
"""Table 1 and 3 of Custom Diffusion (card 4.5), figure 8, and ICO's figure 8."""

SAME = 0.03
"""Two rows are as high as each other where the difference is surely less than this."""

WORST = "does not hold"


def pictures(found: Found, row: str, metric: str, name: str) -> np.ndarray:
    """One value per picture of one object. The trade-off is how far CLIP-I has come from the base's class word (0) to
    unseen views of the object (1), and CLIP-T as a share of the base's."""
    one, base = found[row][name], found[BASE][name]
    if metric != "trade-off":
        return np.asarray(one[metric], dtype=float)
    floor = float(np.mean(base["CLIP-I"]))
    image = (np.asarray(one["CLIP-I"]) - floor) / (base["ceiling"] - floor)
    with np.errstate(
        invalid="ignore", divide="ignore"
    ):  # pictures of two steps have no likeness to their words
        return image + np.asarray(one["CLIP-T"]) / np.mean(base["CLIP-T"])


def spread(values: Sequence[np.ndarray]) -> tuple[float, float, float]:
    """Mean over all pictures, its standard error, and that over the objects' means; not a number where there is one."""
    every, means = np.concatenate(values), np.asarray([one.mean() for one in values])
    within, across = (x.std(ddof=1) / len(x) ** 0.5 if len(x) > 1 else float("nan") for x in (every, means))
    return float(every.mean()), float(within), float(across)


def with_errors(values: Sequence[np.ndarray], form: str = ".3f") -> str:
    """ "0.655 ± 0.012 (0.031)": the mean, and what of the errors can be told."""
    mean, within, across = spread(values)
    text = f"{mean:{form}}" + ("" if isnan(within) else f" ± {within:{form.strip('+')}}")
    return text + ("" if isnan(across) else f" ({across:{form.strip('+')}})")


HEADS = (
    "", "CLIP-I", "DINO-I", "CLIP-T x2.5", "trade-off", "drift", "moved, %", "seconds", "peak MB", "file MB",
    "n: objects x pictures (drift)",
)  # fmt: skip


def table(found: Found, pairs: bool) -> list[str]:
    """A line for each row whose objects are pairs, or are not."""
    lines = [f"| {' | '.join(HEADS)} |", "|---" * len(HEADS) + "|"]
    for row, objects in found.items():
        names = [name for name in objects if ("+" in name) == pairs and name in found.get(BASE, {})]
        if not names:
            continue
        cells = [
            with_errors([pictures(found, row, metric, name) for name in names])
            for metric in ("CLIP-I", "DINO-I", "CLIP-T", "trade-off", "drift")
        ]
        costs = [objects[name]["cost"] for name in names]
        if all(costs):
            for key, scale, form in (
                ("moved", 100.0, ".2f"),
                ("seconds", 1.0, ".0f"),
                ("peak", 1e-6, ".0f"),
                ("bytes", 1e-6, ".2f"),
            ):
                cells.append(over_objects([scale * cost[key] for cost in costs], form))
        else:
            cells += [""] * 4
        shown, drift = (
            sum(len(pictures(found, row, metric, name)) for name in names) for metric in ("CLIP-I", "drift")
        )
        size = f"{len(names)} x {shown / len(names):g} ({drift / len(names):g})"
        lines.append(f"| {row} | {' | '.join(cells)} | {size} |")
    return lines


def over_objects(values: Sequence[float], form: str) -> str:
    """A cost: one value for each object, and the standard error over them."""
    _, error, _ = spread([np.asarray(values)])
    return f"{np.mean(values):{form}}" + ("" if isnan(error) else f" ± {error:{form}}")


def orderings(found: Found) -> list[str]:
    """Each of the papers' orderings with the difference here, of pictures of the same prompt and seed; their count."""
    lines = ["| the papers | their numbers | difference here | objects so | here |", "|---|---|---|---|---|"]
    said: list[str] = []
    for told, numbers, metric, better, worse in ORDERINGS:
        base = found.get(BASE, {})
        names = [n for n in found.get(better, {}) if n in found.get(worse, {}) and n in base]
        if not names:
            said.append("not measured")
            lines.append(f"| {told} | {numbers} | | | not measured |")
            continue
        gaps = [pictures(found, better, metric, n) - pictures(found, worse, metric, n) for n in names]
        said.append(verdict(gaps, same="as high as" in told))
        agree = sum(abs(gap.mean()) < SAME if "as high as" in told else gap.mean() > 0 for gap in gaps)
        lines.append(
            f"| {told} | {numbers} | {with_errors(gaps, '+.3f')} | {agree} of {len(names)} | {said[-1]} |"
        )
    count = ", ".join(f"{said.count(one)} {one}" for one in ("holds", WORST, "undecided", "not measured"))
    return [f"Of {len(ORDERINGS)}: {count}.", "", *lines]


def verdict(gaps: Sequence[np.ndarray], *, same: bool = False) -> str:
    """What two rows' differences say of an ordering."""
    mean, within, _ = spread(gaps)
    if isnan(within):
        return "undecided"
    if same:
        within_margin, beyond = abs(mean) + 2 * within < SAME, abs(mean) - 2 * within > SAME
        return "holds" if within_margin else WORST if beyond else "undecided"
    return "undecided" if abs(mean) < 2 * within else "holds" if mean > 0 else WORST


def report(
    found: Found, asked: Mapping[str, Any], failed: Mapping[str, str], waiting: Sequence[str] = ()
) -> str:
    """All of it, with the command, the machine and the date.

    Args:
        found: The cells that are there.
        asked: What the command line asked for.
        failed: {cell: why} of those that ran and left no result.
        waiting: Those that have not run.
    """
    opening = (
        f"pocket; objects {asked['concepts']}; pairs {asked['pairs']}; {asked['prompts']} prompts x "
        f"{asked['seeds']} seeds (0 to {asked['seeds'] - 1}) each, {asked['drawing']} DDIM steps; settings: the base's "
        f"advice; {processor()}, {asked['threads']} thread a process, {date.today()}. "
        "Mean ± standard error over pictures (over objects' means); costs ± over objects."
    )
    if asked["quick"]:
        opening += " **Smoke: two training steps; no figure means anything.**"
    parts = [opening, ""]
    if failed:
        parts += ["**Failed:**", "", *(f"- {name}: {reason}" for name, reason in failed.items()), ""]
    if waiting:
        parts += [f"Not run yet ({len(waiting)}): {'; '.join(waiting)}.", ""]
    parts += ["## One concept", "", *table(found, False), "", "## Two concepts", "", *table(found, True), ""]
    rule = (
        "Differences are of pictures of the same prompt and seed. Holds: more than two standard errors above 0; does "
        "not hold: as far below; undecided: between. As high as: surely less than "
        f"{SAME} apart, surely more, or neither."
    )
    parts += ["## The papers' orderings", "", rule, "", *orderings(found)]
    return "\n".join(parts) + "\n"
