"""The cells of `bench/custom_edit.py`: what a concept's edits of one picture are like, and the pictures themselves."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cells import Cell, cell, known_by, learned

STRENGTHS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
"""SDEdit's run the other way: more keeps less."""
CROSS, SEEDS = (0.2, 0.6), (0, 1, 2)
"""What is averaged in a point: the paper's two samples of Prompt-to-Prompt, and three noises of SDEdit."""
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
    """(what each strength's pictures are like on average, all of the last cross window or the first seed side by
    side)."""
    from motif import measure
    from motif.demo_edit import renamed
    from motif.edit import custom_edit, sdedit
    from motif.features.extractors import ClipEncoder
    from motif.images import grid
    from motif.invert import null_text

    target, clip = renamed(caption, subject.noun, TOKEN), ClipEncoder.load("pocket")
    if how:
        made = [
            [sdedit(me, picture, target, strength=s, seed=seed, steps=steps).image for s in STRENGTHS]
            for seed in SEEDS
        ]
        strip = grid([picture, *made[0]], columns=1 + len(made[0]))
    else:
        inversion = null_text(me, picture, caption, steps=steps, variant="fast")
        told: Any = {"strengths": STRENGTHS, "blend_threshold": 0.5}
        found = [custom_edit(me, inversion, target, cross_until=cross, **told) for cross in CROSS]
        made, strip = [[*each.images] for each in found], found[-1].strip()

    def like(images: Sequence[Any]) -> tuple[Any, ...]:
        return (
            measure.source_similarity(images, [picture] * len(images), encoder=clip).per_image,
            measure.reference_similarity(images, subject.folder, encoder=clip).per_image,
            measure.text_similarity(images, target, encoder=clip).per_image,
        )

    scores = zip(*map(like, made), strict=True)  # of each likeness: [sample][strength]
    means = [[statistics.fmean(column) for column in zip(*samples, strict=True)] for samples in scores]
    return dict(zip(LIKE, means, strict=True)), strip


def cells_of(
    base: Any, subject: Any, method: str, pictures: int, out: Path, folder: Path, quick: bool
) -> dict[str, dict[str, Cell]]:
    """{row: {picture: its cell}} of one object learned by one method, from the folder or made; the concept is learned
    where a cell is missing, and a cell's pictures lie under OUT/sheets."""
    from motif.images import save_image

    steps, few = (5, {"steps": 2}) if quick else (10, dict[str, Any]())
    if quick and method != "textual-inversion":
        few |= {"prior_count": 2, "prior_steps": 1}
    known = known_by(base, steps, few)
    found: dict[str, dict[str, Cell]] = {method + how: {} for how in ("", SDEDIT)}
    for number, (picture, caption) in enumerate(sources(subject.noun, pictures)):
        name = f"{subject.name} {number}"
        for how in ("", SDEDIT):

            def make(
                how: str = how, picture: Any = picture, caption: str = caption, name: str = name
            ) -> Cell:
                concept, _ = learned(base, subject, method, out / "concepts", **few)
                made, strip = points(base.wear(concept), subject, picture, caption, how, steps)
                save_image(strip, sheet(out, name, method + how))
                return made

            found[method + how][name] = cell(folder, name, method + how, known, make)
    return found


def sheet(out: Path, name: str, row: str) -> Path:
    """Where a cell's pictures are."""
    return out / "sheets" / f"{name} - {row}.png"
