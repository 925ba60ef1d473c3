"""Custom-Edit's trade-off on pocket: `python bench/custom_edit.py -o out/bench/custom-edit`.

Held-out objects are learned by four methods with pocket's advised settings, then put in the place of another object of
their class in held-out pictures (`motif edit custom-edit` on a direct inversion, 10 steps, blend threshold .5), at
strengths .2, .4, .6 and .8. A point of a curve is how like its source and how like the concept's photos a picture is
(cosines of pocket's CLIP), averaged over objects and sources; ordering is by reference similarity, read off each curve
at the source similarities that both curves reach. Concepts are kept in OUT: a stopped run goes on. Writes
custom-edit.md and a sheet.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Sequence
from datetime import date
from itertools import pairwise
from pathlib import Path
from typing import Any

METHODS = ("custom-edit", "custom-diffusion", "textual-inversion", "dreambooth")
STRENGTHS = (0.2, 0.4, 0.6, 0.8)
TOKEN = "<new1>"


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


def learned(base: Any, subject: Any, method: str, steps: int | None, out: Path) -> Any:
    """The concept of an object, from the folder where it was learned before."""
    from motif import learn
    from motif.concept import Concept
    from motif.learn.examples import Examples

    path = out / "concepts" / f"{subject.name}-{method}-{steps or 'advised'}.safetensors"
    if not path.is_file():
        begun = time.perf_counter()
        photos = Examples(subject.folder, f"photo of a {TOKEN} {subject.noun}")
        chosen = {"steps": steps} if steps else {}
        getattr(learn, method.replace("-", "_"))(base, photos, **chosen).save(path)
        print(f"{path.stem}: {time.perf_counter() - begun:.0f} s", flush=True)
    return Concept.load(path)


def points(
    me: Any, subject: Any, pictures: Sequence[tuple[Any, str]], clip: Any
) -> tuple[list[list[tuple[float, float]]], list[Any]]:
    """([source picture][strength] -> (like the source, like the photos), the strips of all)."""
    from motif import measure
    from motif.demo_edit import renamed
    from motif.edit import custom_edit
    from motif.invert import direct

    rows: list[list[tuple[float, float]]] = []
    strips: list[Any] = []
    for picture, caption in pictures:
        target = renamed(caption, subject.noun, TOKEN)
        found = custom_edit(
            me, direct(me, picture, caption, steps=10), target, strengths=STRENGTHS, blend_threshold=0.5
        )
        images, n = list(found.images), len(found.images)
        near = measure.source_similarity(images, [picture] * n, encoder=clip).per_image
        like = measure.reference_similarity(images, subject.folder, encoder=clip).per_image
        rows.append([(float(a or 0), float(b or 0)) for a, b in zip(near, like, strict=True)])
        strips.append(found.strip())
    return rows, strips


def at(curve: Sequence[tuple[float, float]], x: float) -> float | None:
    """A curve's height at x; None where it does not reach."""
    for (a0, b0), (a1, b1) in pairwise(sorted(curve)):
        if a0 <= x <= a1:
            return b0 + (b1 - b0) * (x - a0) / (a1 - a0 or 1)
    return None


def ordering(one: list[list[tuple[float, float]]], other: list[list[tuple[float, float]]]) -> str:
    """How much more like the references `one` is at equal likeness to the source, over pictures."""
    gaps: list[float] = []
    for mine, theirs in zip(one, other, strict=True):
        marks = [x for x, _ in (*mine, *theirs)]
        pairs = [(at(mine, x), at(theirs, x)) for x in marks]
        both = [a - b for a, b in pairs if a is not None and b is not None]
        gaps += [statistics.fmean(both)] if both else []
    if len(gaps) < 2:
        return f"{len(gaps)} pictures whose curves meet: cannot be told"
    mean, error = statistics.fmean(gaps), statistics.stdev(gaps) / len(gaps) ** 0.5
    verdict = "no difference beyond two errors" if abs(mean) < 2 * error else (
        "holds" if mean > 0 else "does not hold")  # fmt: skip
    return f"{verdict} ({mean:+.3f} ± {error:.3f}, {len(gaps)} pictures whose curves meet)"


def main() -> None:
    """Learn, edit, measure and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--out", type=Path, required=True)
    parser.add_argument("--objects", nargs="+", default=["boat", "cat"])
    parser.add_argument("--methods", nargs="+", default=METHODS, choices=METHODS)
    parser.add_argument("--pictures", type=int, default=3, help="sources of each object")
    parser.add_argument("--steps", type=int, help="of learning; the default is pocket's advice")
    asked = parser.parse_args()
    import torch
    from machine import processor

    from motif.base import Base
    from motif.features.extractors import ClipEncoder
    from motif.images import grid, save_image
    from motif.pocket.concepts import held_out

    torch.set_num_threads(1)
    base, clip = Base.load("pocket", device="cpu"), ClipEncoder.load("pocket")
    rows: dict[str, list[list[tuple[float, float]]]] = {method: [] for method in asked.methods}
    cells: list[Any] = []
    labels: list[str] = []
    for subject in [one for one in held_out() if one.name in asked.objects]:
        pictures = sources(subject.noun, asked.pictures)
        for method in asked.methods:
            me = base.wear(learned(base, subject, method, asked.steps, asked.out))
            found, strips = points(me, subject, pictures, clip)
            rows[method] += found
            cells += strips
            labels += [f"{subject.name}, {method}"] * len(strips)
    save_image(grid(cells, columns=asked.pictures, labels=labels), asked.out / "custom-edit.png")
    lines = [f"`python bench/custom_edit.py --objects {' '.join(asked.objects)} --pictures {asked.pictures}"
             f"{f' --steps {asked.steps}' if asked.steps else ''}`, {processor()}, {date.today()}. Like the "
             "source, like the concept's photos: means over pictures.\n",
             "| learned by | " + " | ".join(f"strength {s:g}" for s in STRENGTHS) + " |", "|---" * 5 + "|"]  # fmt: skip
    for method, found in rows.items():
        means = [
            [statistics.fmean(row[i][k] for row in found) for k in (0, 1)] for i in range(len(STRENGTHS))
        ]
        lines.append(f"| {method} | " + " | ".join(f"{a:.3f}, {b:.3f}" for a, b in means) + " |")
    best = asked.methods[0]
    lines += ["", *(f"- {best} is more like the references than {other} at equal likeness to the source: "
                    f"{ordering(rows[best], rows[other])}." for other in asked.methods[1:])]  # fmt: skip
    (asked.out / "custom-edit.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
