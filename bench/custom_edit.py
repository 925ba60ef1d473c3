"""Custom-Edit's trade-off on pocket: `python bench/custom_edit.py`.

Held-out objects are learned by four methods with pocket's advised settings, then put in the place of another object
of their class in held-out pictures, at strengths 0 to 1: by `motif edit custom-edit` on a null-text inversion, the
fast one (cross maps until .2 and .6, whose scores are averaged; blend threshold .5), and by SDEdit (three seeds,
averaged), both of as many steps. A point of a curve is how like its source, how like the concept's photos and how
like the target's words a picture is (cosines of pocket's CLIP). Curves are joined in the order of the strengths and
compared where both reach (`curves`): methods by likeness to the photos at equal likeness to the source, Prompt-to-
Prompt with SDEdit by likeness to the source at equal likeness to the photos. Errors are over objects, which are what
was learned. A cell for every method and picture is kept in docs/results/custom-edit, so that another session goes on;
`--part 1/2` and `--part 2/2` share the work (an object learned by a method is what is dealt out) between two processes
and a run without `--part` makes what is missing and writes custom-edit.md, results.json (for `make reproduction`) and a
sheet of those pictures that were made under OUT. Its 144 cells took 75
minutes of two cores of an AMD EPYC, a process on each, which other work shared (2026-11-30).
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

from cells import Cell, part_of, share
from curves import Curves, over
from custom_edit_cells import LIKE, SDEDIT, STRENGTHS, cells_of, sheet

KEPT = Path(__file__).parents[1] / "docs" / "results" / "custom-edit"
METHODS = ("custom-edit", "custom-diffusion", "textual-inversion", "dreambooth")
OVER = tuple((best, other) for best in METHODS[:2] for other in METHODS if other not in ("custom-edit", best))
"""What is compared at equal likeness to the source."""
AT_SOURCE, AT_REFERENCES = "like references at equal source", "like source at equal references"


def object_of(name: str) -> str:
    """ "cat 0", a picture for the object cat, -> "cat"."""
    return name.rpartition(" ")[0]


def by_object(cells: Mapping[str, Cell]) -> dict[str, Cell]:
    """Each object's mean over its pictures, strength by strength."""
    found: dict[str, list[Cell]] = {}
    for name, one in cells.items():
        found.setdefault(object_of(name), []).append(one)
    return {
        name: {like: [statistics.fmean(c) for c in zip(*(one[like] for one in some), strict=True)] for like in LIKE}
        for name, some in found.items()
    }  # fmt: skip


def curves(objects: Mapping[str, Cell], along: str, across: str) -> Curves:
    """{object: [(x, y) of every strength]}."""
    return {name: [*zip(one[along], one[across], strict=True)] for name, one in objects.items()}  # pyright: ignore


def comparisons(methods: Sequence[str]) -> dict[str, tuple[str, str, str, str]]:
    """{row: (the row whose curve shall lie above, the other, along, across)}."""
    found = {
        f"{best} over {other}{how}": (f"{best}{how}", f"{other}{how}", *LIKE[:2])
        for how in ("", SDEDIT) for best, other in OVER if {best, other} <= {*methods}
    }  # fmt: skip
    return found | {
        f"{method}, P2P over SDEdit": (method, f"{method}{SDEDIT}", LIKE[1], LIKE[0]) for method in methods
    }


def results(cells: Mapping[str, Mapping[str, Cell]], methods: Sequence[str]) -> dict[str, dict[str, Any]]:
    """{row: {metric: a value}}: every method's means over strengths and pictures, one of each object; and how far a
    curve lies above another."""
    from results import Value, plainly

    objects = {row: by_object(found) for row, found in cells.items()}
    rows = {
        row: {
            like: plainly(Value.of({name: [statistics.fmean(one[like])] for name, one in found.items()}))  # pyright: ignore
            for like in LIKE
        }
        for row, found in objects.items()
    }
    for row, (one, other, along, across) in comparisons(methods).items():
        value = over(*(curves(objects[which], along, across) for which in (one, other)))
        rows[row] = {AT_SOURCE if along == LIKE[0] else AT_REFERENCES: plainly(value)}
    return rows


def table(rows: Mapping[str, Mapping[str, Any]], cells: Mapping[str, Mapping[str, Cell]]) -> list[str]:
    """Every curve's points, and the orderings."""
    from results import told_of

    from reproduction import number, word_of

    lines = [
        "| learned by | " + " | ".join(f"{s:g}" for s in STRENGTHS) + " |",
        "|---" * (1 + len(STRENGTHS)) + "|",
    ]
    for row, found in cells.items():
        objects = by_object(found).values()
        means = [
            [statistics.fmean(one[k][i] for one in objects) for k in LIKE] for i in range(len(STRENGTHS))
        ]  # pyright: ignore
        points = (", ".join(f"{x:.3f}" for x in point) for point in means)
        lines.append(f"| {row} | " + " | ".join(points) + " |")
    lines.append("")
    for row in comparisons([row for row in cells if not row.endswith(SDEDIT)]):
        ((metric, record),) = rows[row].items()
        value = told_of(record)
        told = value.note if value.error is None else f"{number(value)}; {value.note}"
        lines.append(f"- {row}: {metric}: {word_of(value.mean, value.error)} ({told}).")
    return lines


def main() -> None:
    """Learn, edit, measure and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("-o", "--out", type=Path, default=Path("out/bench/custom-edit"))
    parser.add_argument("--objects", nargs="+", default=["boat", "cactus", "car", "cat", "house", "snowman"])
    parser.add_argument("--methods", nargs="+", default=METHODS, choices=METHODS)
    parser.add_argument("--pictures", type=int, default=3, help="sources of each object")
    parser.add_argument("--part", type=part_of, help="1/2: a half of the work alone, and no report")
    parser.add_argument(
        "--quick", action="store_true", help="one object and picture, few steps: to see that it runs"
    )
    asked = parser.parse_args()
    from motif.base import Base
    from motif.pocket.concepts import held_out

    folder = KEPT
    if asked.quick:
        asked.objects, asked.pictures, asked.out = asked.objects[:1], 1, asked.out / "quick"
        folder = asked.out / "cells"  # they are no results
    base = Base.load("pocket", device="cpu")
    work = [(one, method) for one in held_out() if one.name in asked.objects for method in asked.methods]
    found: dict[str, dict[str, Cell]] = {
        f"{method}{how}": {} for how in ("", SDEDIT) for method in asked.methods
    }
    for subject, method in share(work, asked.part):
        rows = cells_of(base, subject, method, asked.pictures, asked.out, folder, asked.quick)
        for row, cells in rows.items():
            found[row] |= cells
    if asked.part is None:
        write(found, asked)


def write(found: Mapping[str, Mapping[str, Cell]], asked: argparse.Namespace) -> None:
    """The report, the results, the sheet, and a page of every object's first picture at half its size."""
    from machine import processor
    from PIL import Image

    from motif.files import written
    from motif.images import grid, save_image

    places = [sheet(asked.out, name, row) for name in next(iter(found.values())) for row in found]
    there = [path for path in places if path.is_file()]
    if there:
        pictures = {path.stem: Image.open(path).convert("RGB") for path in there}
        first = {
            name: image.reduce(2)
            for name, image in pictures.items()
            if " 0 - " in name and SDEDIT not in name
        }
        for chosen, name in ((pictures, "custom-edit.png"), (first, "first.jpg")):
            if chosen:
                page = grid([*chosen.values()], columns=max(len(found) // 2, 1), labels=[*chosen])
                save_image(page, asked.out / name)
    rows = results(found, asked.methods)
    lines = [f"`python bench/custom_edit.py --objects {' '.join(asked.objects)} --pictures {asked.pictures}`, "
             f"{processor()}, {date.today()}. Like the source, like the concept's photos, like the target's words, at "
             "strengths 0 to 1 (SDEdit's run the other way): means over objects.\n", *table(rows, found)]  # fmt: skip
    asked.out.mkdir(parents=True, exist_ok=True)
    (asked.out / "custom-edit.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    with written(asked.out / "results.json") as part:
        part.write_text(json.dumps({"rows": rows}, indent=1) + "\n", encoding="utf-8")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
