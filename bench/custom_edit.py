"""Custom-Edit's trade-off on pocket: `python bench/custom_edit.py`.

Held-out objects are learned by four methods with pocket's advised settings, then put in the place of another object of
their class in held-out pictures, at several strengths: by `motif edit custom-edit` on a direct inversion (10 steps,
blend threshold .5; .2 to .8), and by SDEdit (.5 to .8). A point of a curve is how like its source, how like the
concept's photos and how like the target's words a picture is (cosines of pocket's CLIP); ordering is by likeness to the
photos, read off each curve at the likeness to the source that both curves reach. A cell for every method and picture is
kept in OUT/cells: a stopped run goes on. Writes custom-edit.md, results.json (for `make reproduction`) and a sheet.
About 15 minutes of one core.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Mapping, Sequence
from datetime import date
from itertools import pairwise
from pathlib import Path
from typing import Any

from cells import Cell, cell, known_by, learned

METHODS = ("custom-edit", "custom-diffusion", "textual-inversion", "dreambooth")
STRENGTHS = (0.2, 0.4, 0.6, 0.8)
NOISED = (0.5, 0.6, 0.7, 0.8)
"""SDEdit's strengths, as the paper has them; they run the other way: more keeps less."""
SDEDIT = ", SDEdit"
TOKEN = "<new1>"
LIKE = ("like source", "like references", "like text")


def sources(noun: str, count: int) -> list[tuple[Any, str]]:
    """The first held-out photos of an object of the class, alone, with their captions."""
    from PIL import Image

    from motif.pocket.world import held_out

    data = Path(held_out.__file__).parents[1] / "data"
    pictures, captions, _ = held_out.read_pairs(data)
    rows = zip(pictures.scenes, pictures.rgb, captions, strict=True)
    alone = [
        (Image.fromarray(pixels), caption)
        for scene, pixels, caption in rows
        if scene.instance.noun == noun
        and (scene.view.style, scene.view.accessory, scene.view.companion) == ("photo", None, None)
    ]
    return alone[:count]


def points(me: Any, subject: Any, picture: Any, caption: str, how: str, steps: int) -> tuple[Cell, Any]:
    """(what each strength's picture is like, all of them side by side)."""
    from motif import measure
    from motif.demo_edit import renamed
    from motif.edit import custom_edit, sdedit
    from motif.features.extractors import ClipEncoder
    from motif.images import grid
    from motif.invert import direct

    target, clip = renamed(caption, subject.noun, TOKEN), ClipEncoder.load("pocket")
    if how:
        made = [sdedit(me, picture, target, strength=s, steps=5 * steps) for s in NOISED]
        images = [image for one in made for image in one.images]
        strip = grid([picture, *images], columns=1 + len(images))
    else:
        inversion = direct(me, picture, caption, steps=steps)
        found = custom_edit(me, inversion, target, strengths=STRENGTHS, blend_threshold=0.5)
        images, strip = list(found.images), found.strip()
    return {
        "like source": [*measure.source_similarity(images, [picture] * len(images), encoder=clip).per_image],
        "like references": [*measure.reference_similarity(images, subject.folder, encoder=clip).per_image],
        "like text": [*measure.text_similarity(images, target, encoder=clip).per_image],
    }, strip


def curve(point: Cell) -> list[tuple[float, float]]:
    """[(like the source, like the photos)] over the strengths."""
    return [(a, b) for a, b in zip(point["like source"], point["like references"], strict=True) if a and b]


def at(curve: Sequence[tuple[float, float]], x: float) -> float | None:
    """A curve's height at x; None where it does not reach."""
    for (a0, b0), (a1, b1) in pairwise(sorted(curve)):
        if a0 <= x <= a1:
            return b0 + (b1 - b0) * (x - a0) / (a1 - a0 or 1)
    return None


def gap(one: Cell, other: Cell) -> list[float]:
    """How much more like the photos `one` is at equal likeness to the source; nothing where the curves never meet."""
    mine, theirs = curve(one), curve(other)
    pairs = [(at(mine, x), at(theirs, x)) for x, _ in (*mine, *theirs)]
    both = [a - b for a, b in pairs if a is not None and b is not None]
    return [statistics.fmean(both)] if both else []


def results(cells: Mapping[str, Mapping[str, Cell]], methods: Sequence[str]) -> dict[str, dict[str, Any]]:
    """{row: {metric: a value}}: every method's means over strengths and pictures, and the first over each other one."""
    from results import Value, plainly

    rows = {
        row: {like: plainly(Value.of({name: one[like] for name, one in found.items()})) for like in LIKE}
        for row, found in cells.items()
    }
    for how in ("", SDEDIT):
        best = cells.get(f"{methods[0]}{how}", {})
        for other in methods[1:]:
            gaps = {name: gap(best[name], one) for name, one in cells.get(f"{other}{how}", {}).items()}
            if any(gaps.values()):
                told = plainly(Value.of(gaps))
                rows[f"{methods[0]} over {other}{how}"] = {"like references at equal source": told}
    return rows


def table(rows: Mapping[str, Mapping[str, Any]], cells: Mapping[str, Mapping[str, Cell]]) -> list[str]:
    """Every curve's points, and the orderings."""
    from results import Value

    from reproduction import number, word_of

    lines = ["| learned by | " + " | ".join(f"point {i + 1}" for i in range(4)) + " |", "|---" * 5 + "|"]
    for row, found in cells.items():
        means = [
            [statistics.fmean(one[k][i] or 0.0 for one in found.values()) for k in LIKE] for i in range(4)
        ]
        lines.append(
            f"| {row} | " + " | ".join(", ".join(f"{x:.3f}" for x in point) for point in means) + " |"
        )
    lines.append("")
    for row in (row for row in rows if " over " in row):
        told = rows[row]["like references at equal source"]
        value = Value(told["mean"], told["error"])
        word, met = word_of(value.mean, value.error or float("inf")), sum(map(len, told["values"].values()))
        lines.append(f"- {row}: {word} ({number(value)}, {met} pictures whose curves meet).")
    return lines


def main() -> None:
    """Learn, edit, measure and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("-o", "--out", type=Path, default=Path("out/bench/custom-edit"))
    parser.add_argument("--objects", nargs="+", default=["boat", "cactus", "car", "cat"])
    parser.add_argument("--methods", nargs="+", default=METHODS, choices=METHODS)
    parser.add_argument("--pictures", type=int, default=3, help="sources of each object")
    parser.add_argument(
        "--quick", action="store_true", help="one object and picture, few steps: to see that it runs"
    )
    asked = parser.parse_args()
    from machine import processor
    from PIL import Image

    from motif.base import Base
    from motif.files import written
    from motif.images import grid, save_image
    from motif.pocket.concepts import held_out

    base, steps, few = Base.load("pocket", device="cpu"), 10, dict[str, Any]()
    if asked.quick:
        asked.objects, asked.pictures, steps, few = asked.objects[:1], 1, 5, {"steps": 2}
    found: dict[str, dict[str, Cell]] = {
        f"{method}{how}": {} for how in ("", SDEDIT) for method in asked.methods
    }
    strips: list[Path] = []
    for subject in [one for one in held_out() if one.name in asked.objects]:
        for number, (picture, caption) in enumerate(sources(subject.noun, asked.pictures)):
            for row, points_of in found.items():
                name, method = f"{subject.name} {number}", row.removesuffix(SDEDIT)
                sheet = asked.out / "cells" / f"{name} - {row}.png"

                def make(s: Any = subject, p: Any = picture, c: str = caption, m: str = method, row: str = row,
                         sheet: Path = sheet) -> Cell:  # fmt: skip
                    fewer = few | (
                        {"prior_count": 2, "prior_steps": 1} if few and m != "textual-inversion" else {}
                    )
                    concept, _ = learned(base, s, m, asked.out / "concepts", **fewer)
                    made, strip = points(base.wear(concept), s, p, c, row[len(m) :], steps)
                    save_image(strip, sheet)
                    return made

                points_of[name] = cell(asked.out / "cells", name, row, known_by(base, steps, few), make)
                strips.append(sheet)
    labels = [path.stem for path in strips]
    pictures = [Image.open(path).convert("RGB") for path in strips]
    save_image(grid(pictures, columns=len(found) // 2, labels=labels), asked.out / "custom-edit.png")
    rows = results(found, asked.methods)
    lines = [f"`python bench/custom_edit.py --objects {' '.join(asked.objects)} --pictures {asked.pictures}`, "
             f"{processor()}, {date.today()}. Like the source, like the concept's photos, like the target's words, at "
             "strengths .2 to .8 (SDEdit: .5 to .8): means over pictures.\n", *table(rows, found)]  # fmt: skip
    (asked.out / "custom-edit.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    with written(asked.out / "results.json") as part:
        part.write_text(json.dumps({"rows": rows}, indent=1) + "\n", encoding="utf-8")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
