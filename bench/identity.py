"""Does Custom Diffusion learn the object? Four held-out objects of pocket's world, eight prompts, four seeds.

`python bench/identity.py -o out` learns each one with the defaults, draws the prompts with the base's class word and
with the learned token, and prints CLIP-I, DINO-I, the judge's likeness and CLIP-T with standard errors (over
pictures, and over objects),
between the floor (other objects of the class) and the ceiling (unseen views of the same object); a last row tells how
much of it the new word does without the changed weights. The prompts name the
six places where no photo of the object was taken, two of them again with something added. Settings are tuned
on other objects (`--concepts dog,duck`), never on these four. Writes identity.md, identity.json and a sheet.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

ADDED = ("wearing a red hat", "next to a yellow ball")
EXAM = ("boat", "cactus", "car", "cat")
SEEDS = (0, 1, 2, 3)
ROWS = (
    "floor: other objects of the class",
    "base: class word",
    "learned: <new1>",
    "ceiling: unseen views",
    "learned: <new1>, its word alone (weights as they were)",
)
MASKS = (
    "The photos of these objects come with masks, and pocket's advice learns the subjects alone (`--masked`); photos "
    "without masks are learned whole, which costs image alignment: `docs/notes.md` has both for the objects of tuning."
)


METRICS = ("CLIP-I", "DINO-I", "judge", "CLIP-T")


def judged(images: Sequence[Any], references: Sequence[Any]) -> Any:
    """The judge's likeness: cosines of the identities of what it finds in pictures and references. It shares nothing
    with what learns, and the place cannot speak for the object.
    """
    import torch
    from PIL import Image

    from motif.loading import pocket_weights
    from motif.measure import Score
    from motif.pocket.recipe.judge import load_judge
    from motif.pocket.recipe.material import normalised

    judge = load_judge(pocket_weights() / "judge")

    def read(some: Sequence[Any]) -> Any:
        opened = [one if isinstance(one, Image.Image) else Image.open(one) for one in some]
        pixels = normalised(torch.from_numpy(np.stack([np.asarray(one.convert("RGB")) for one in opened])))
        return judge.identify(pixels, judge.find(pixels))

    with torch.no_grad():
        likeness = (read(images) @ read(references).T).mean(1)
    return Score("judge", tuple(likeness.tolist()))


def exam(
    subject: Any, settings: dict[str, Any], folder: Path
) -> tuple[dict[str, dict[str, Any]], list[Any], float]:
    """{row: {metric: Score}} of one object, the pictures for the sheet, and mean ‖W - W₀‖ / ‖W₀‖ of the weights."""
    from PIL import Image

    from motif.base import Base
    from motif.features.extractors import ClipEncoder, DinoEncoder
    from motif.lanes import draw
    from motif.learn import Examples, custom_diffusion
    from motif.measure import clip_i, clip_t, dino_i

    base, clip, dino = Base.load("pocket"), ClipEncoder.load("pocket"), DinoEncoder.load("pocket")
    examples = Examples(subject.folder, f"photo of a <new1> {subject.noun}")
    concept = custom_diffusion(base, examples, **settings)
    concept.save(folder / f"{subject.name}.safetensors")
    openings = [f"a photo of a {{}} {place}" for place in subject.places]
    openings += [
        f"a photo of a {{}} {what} {place}" for what, place in zip(ADDED, subject.places, strict=False)
    ]
    scores: dict[str, dict[str, Any]] = {}
    sheet: list[Any] = []
    for row, who, words in (
        (ROWS[1], base, subject.noun),
        (ROWS[2], base.wear(concept), f"<new1> {subject.noun}"),
        (ROWS[4], base.wear(replace(concept, changes={})), f"<new1> {subject.noun}"),
    ):
        texts = [opening.format(words) for opening in openings for _ in SEEDS]
        images = list(draw(who, texts, seeds=SEEDS * len(openings), steps=30))
        scores[row] = {
            "CLIP-I": clip_i(images, subject.references, encoder=clip),
            "DINO-I": dino_i(images, subject.references, encoder=dino),
            "judge": judged(images, subject.references),
            "CLIP-T": clip_t(images, texts, encoder=clip),
        }
        if row != ROWS[4]:
            sheet += [Image.open(subject.references[0]).convert("RGB"), *images[:: len(SEEDS)]]
    for row, pictures in ((ROWS[0], subject.others), (ROWS[3], subject.views)):
        scores[row] = {
            "CLIP-I": clip_i(pictures, subject.references, encoder=clip),
            "DINO-I": dino_i(pictures, subject.references, encoder=dino),
            "judge": judged(pictures, subject.references),
        }
    moved = [float(c.full().norm() / base.weight(name).norm()) for name, c in concept.changes.items()]
    return scores, sheet, float(np.mean(moved)) if moved else 0.0


def cell(scores: Sequence[Any]) -> str:
    """Mean ± standard error over all pictures (and over the objects' means)."""
    values = np.concatenate([np.asarray([v for v in s.per_image], dtype=float) for s in scores])
    means = np.asarray([s.mean for s in scores])
    within, across = (x.std(ddof=1) / len(x) ** 0.5 if len(x) > 1 else float("nan") for x in (values, means))
    return f"{values.mean():.3f} ± {within:.3f} ({across:.3f})"


def shares(found: Sequence[dict[str, dict[str, Any]]], moved: Sequence[float]) -> str:
    """How far from floor to ceiling the learned token comes, and what it costs in text alignment."""
    mean = {(row, m): np.mean([f[row][m].mean for f in found]) for row in ROWS for m in found[0][row]}
    way = {
        m: (mean[ROWS[2], m] - mean[ROWS[0], m]) / (mean[ROWS[3], m] - mean[ROWS[0], m]) for m in METRICS[:3]
    }
    kept = mean[ROWS[2], "CLIP-T"] / mean[ROWS[1], "CLIP-T"]
    return (
        f"From floor (0) to ceiling (1) the learned token comes to {way['CLIP-I']:.2f} in CLIP-I and "
        f"{way['DINO-I']:.2f} in DINO-I ({way['judge']:.2f} by the judge's identities); "
        f"its text alignment is {kept:.2f} of the class word's. The keys and values moved by "
        f"{100 * np.mean(moved):.2g} % of their norm."
    )


def main() -> None:
    """Run the exam and print its table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--out", type=Path, default=Path("out/identity"))
    parser.add_argument("--concepts", default=",".join(EXAM), help="which held-out objects, by name")
    parser.add_argument("--settings", type=json.loads, default={}, help='of training, to tune: {"lr": 2e-5}')
    asked = parser.parse_args()
    from machine import processor

    from motif.grids import grid
    from motif.pocket.concepts import held_out

    begun = time.monotonic()
    by_name = {subject.name: subject for subject in held_out()}
    subjects = [by_name[name] for name in asked.concepts.split(",")]
    found, sheets, moved = zip(
        *(exam(subject, asked.settings, asked.out) for subject in subjects), strict=True
    )
    lines = [
        f"Custom Diffusion on pocket{f' {asked.settings}' if asked.settings else ''}: "
        f"{', '.join(s.name for s in subjects)}; 8 prompts x {len(SEEDS)} seeds each; "
        "mean ± standard error over pictures (over objects), "
        f"30 DDIM steps, {processor()}, {date.today()}, {time.monotonic() - begun:.0f} s.",
        "",
        "| | CLIP-I | DINO-I | judge | CLIP-T x2.5 |",
        "|---|---|---|---|---|",
    ]
    for row in ROWS:
        cells = [cell([f[row][m] for f in found]) if m in found[0][row] else "" for m in METRICS]
        lines.append(f"| {row} | {' | '.join(cells)} |")
    lines += ["", shares(found, moved), "", MASKS]
    asked.out.mkdir(parents=True, exist_ok=True)
    (asked.out / "identity.md").write_text("\n".join(lines) + "\n")
    plain = [{row: {m: s.as_dict() for m, s in metrics.items()} for row, metrics in f.items()} for f in found]
    (asked.out / "identity.json").write_text(
        json.dumps(dict(zip((s.name for s in subjects), plain, strict=True)), indent=1)
    )
    grid([image for sheet in sheets for image in sheet], columns=9, cell=96).save(asked.out / "identity.png")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
