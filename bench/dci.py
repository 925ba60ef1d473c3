"""DCI's trade-off on held-out objects: is fidelity at equal text alignment above the concept's own checkpoints?

`python bench/dci.py -o out/bench/dci` learns each object with ICO (scheme ico-for-dci) and with Custom Diffusion, keeps
their checkpoints, and draws eight prompts with: every checkpoint, plainly; DCI with the last ICO concept over a grid of
balance x until; and the paper's ablations (lanes added without masks; prompts cut apart; the last layer alone).
Measures CLIP-I and DINO-I with the photos, CLIP-T with the prompt, and what pocket's judge sees of what was asked: the
place, and the hat or the ball. Writes docs/dci.md and its figures, dci.json, and a sheet of each object. A cell (object
and row) that is in the folder is not made again. `--quick` is one object and few pictures, and writes no docs.
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from cells import cell, known_by
from dci_report import PAGE, figure, table
from identity import ADDED

STAND_IN = {"boat": "car", "cactus": "mushroom", "car": "boat", "cat": "dog"}  # nouns of pocket's world
ADDITION = (
    0.9  # what the auxiliary lane is multiplied by where lanes are added (the published code's history)
)
DOCS = Path(__file__).parents[1] / "docs"


@dataclass(frozen=True)
class Size:
    """How much is drawn."""

    objects: tuple[str, ...]
    prompts: int
    seeds: int
    steps: int  # of sampling
    learning: int
    every: int  # steps between checkpoints
    balances: tuple[float, ...]
    untils: tuple[float, ...]


WHOLE = Size(
    ("car", "cat", "boat", "cactus"), 8, 4, 20, 200, 50, (-2.0, -1.0, 0.0, 1.0, 2.0), (0.15, 0.3, 0.6)
)
QUICK = Size(("cat",), 4, 2, 12, 100, 50, (0.0, 2.0), (0.3, 0.6))
LEARNING = {
    "ico": {"scheme": "ico-for-dci", "lr": 2e-6, "token_lr": 2e-4, "batch_size": 4, "masked": True},
    "custom-diffusion": {},
}


def checkpoints(base: Any, subject: Any, size: Size, out: Path) -> dict[str, list[tuple[int, Any]]]:
    """{method: [(step, concept)]} of one object."""
    from motif import methods
    from motif.concept import Concept
    from motif.learn import Examples

    examples = Examples(subject.folder, f"photo of a <new1> {subject.noun}")
    steps = range(size.every, size.learning + 1, size.every)
    found: dict[str, list[tuple[int, Any]]] = {}
    for name, settings in LEARNING.items():
        run = out / f"{subject.name}-{name}-{known_by(base, size.learning, size.every, settings)}.run"
        files = [run / f"concept-{step:04d}.safetensors" for step in steps]
        if not all(file.is_file() for file in files):
            methods.load("learn", name)(
                base,
                examples,
                steps=size.learning,
                folder=run,
                checkpoint_every=size.every,
                preview_every=0,
                **settings,
            )
        found[name] = [(step, Concept.load(file)) for step, file in zip(steps, files, strict=True)]
    return found


def prompts_of(subject: Any, count: int) -> list[str]:
    """Prompts with {} for the object; those that add something come first, as they are where plain sampling fails."""
    added = [f"a photo of a {{}} {what} {place}" for what, place in zip(ADDED, subject.places, strict=False)]
    return [*added, *(f"a photo of a {{}} {place}" for place in subject.places)][:count]


def plainly(base: Any, words: str, openings: Sequence[str], size: Size) -> list[Any]:
    """A row's pictures, without a second lane."""
    from motif.lanes import draw

    texts = [opening.format(words) for opening in openings for _ in range(size.seeds)]
    return list(draw(base, texts, seeds=[*range(size.seeds)] * len(openings), steps=size.steps))


def with_dci(
    me: Any, subject: Any, openings: Sequence[str], size: Size, balance: float, **how: Any
) -> list[Any]:
    """A row's pictures with DCI."""
    from motif.sample import dci

    return [
        image
        for opening in openings
        for image in dci(me, opening.format(f"<new1> {subject.noun}"), n=size.seeds, steps=size.steps,
                         stand_in=[STAND_IN.get(subject.noun, "cat")], balance=balance, **how)
    ]  # fmt: skip


def cut_apart(
    me: Any, subject: Any, openings: Sequence[str], size: Size, balance: float, until: float
) -> list[Any]:
    """The paper's "without entire prompt": one lane has the concept's words alone, the other all the others."""
    from motif.sample.stand_in import Pair
    from motif.sample.two_lanes import TwoLanes

    images: list[Any] = []
    phrase = f"<new1> {subject.noun}"
    for opening in openings:
        rest = opening.replace("of a {} ", "")
        pair = Pair(f"a photo of a {phrase}", rest, ((13, 13 + len(phrase)),), ())
        images += TwoLanes(me, pair, size.steps, me.guidance, until).pictures(range(size.seeds), balance)
    return images


def rows_of(base: Any, subject: Any, size: Size, out: Path) -> dict[str, tuple[int, Callable[[], list[Any]]]]:
    """{row: (evaluations a picture, what draws its pictures)} of one object."""
    from motif.sample.two_lanes import evaluations

    openings, phrase = prompts_of(subject, size.prompts), f"<new1> {subject.noun}"
    plain, until = 2 * size.steps, 0.3

    @cache
    def learned() -> dict[str, list[tuple[int, Any]]]:
        return checkpoints(base, subject, size, out)

    def me() -> Any:
        return base.wear(learned()["ico"][-1][1])

    rows: dict[str, tuple[int, Callable[[], list[Any]]]] = {
        "base: class word": (plain, lambda: plainly(base, subject.noun, openings, size))
    }
    for name in LEARNING:
        for i, step in enumerate(range(size.every, size.learning + 1, size.every)):
            rows[f"{name} {step}"] = plain, lambda name=name, i=i: plainly(
                base.wear(learned()[name][i][1]), phrase, openings, size
            )  # fmt: skip
    for part in size.untils:
        cost = evaluations(size.steps, part, guided=True, shared=True)
        for balance in size.balances:
            rows[f"dci {balance:g}, until {part:g}"] = cost, lambda balance=balance, part=part: with_dci(
                me(), subject, openings, size, balance, until=part
            )  # fmt: skip
    cost = evaluations(size.steps, until, guided=True, shared=True)
    rows[f"without mask, until {until:g}"] = (
        cost,
        lambda: with_dci(me(), subject, openings, size, ADDITION, until=until, masks="none"),
    )
    rows[f"without entire prompt, until {until:g}"] = (
        cost,
        lambda: cut_apart(me(), subject, openings, size, 1.0, until),
    )
    rows[f"without deep aggregation, until {until:g}"] = (
        cost,
        lambda: with_dci(me(), subject, openings, size, ADDITION, until=until, masks="none", layers="last"),
    )
    masks = out / f"masks-{subject.name}-{known_by(base, size)}.png"
    if not masks.is_file():
        _masks(me(), subject, openings[0].format(phrase), size, until).save(masks)
    return rows


def _masks(me: Any, subject: Any, prompt: str, size: Size, until: float) -> Any:
    from motif.sample import dci

    found = dci(me, prompt, steps=size.steps, until=until, stand_in=[STAND_IN.get(subject.noun, "cat")],
                balances=[min(size.balances), max(size.balances)], show_masks=True)  # fmt: skip
    return found.sheets["masks"]


def scored(
    subject: Any, row: str, draw: Callable[[], list[Any]], size: Size, out: Path
) -> dict[str, list[float]]:
    """{metric: a value for each picture} of one object and row; of every prompt a picture stays."""
    from motif.images import save_image
    from motif.measure import clip_i, clip_t, dino_i

    images, (clip, dino) = draw(), encoders()
    openings = prompts_of(subject, size.prompts)
    texts = [opening.format(subject.noun) for opening in openings for _ in range(size.seeds)]
    for i, image in enumerate(images[:: size.seeds]):
        save_image(image, out / "cells" / f"{subject.name} - {row} {i}.png")
    return {
        "CLIP-T": [*clip_t(images, texts, encoder=clip).per_image],
        "asked": asked_for(images, texts),
        "CLIP-I": [*clip_i(images, subject.references, encoder=clip).per_image],
        "DINO-I": [*dino_i(images, subject.references, encoder=dino).per_image],
    }


@cache
def encoders() -> tuple[Any, Any]:
    """pocket's CLIP and DINO."""
    from motif.features.extractors import ClipEncoder, DinoEncoder

    return ClipEncoder.load("pocket"), DinoEncoder.load("pocket")


@cache
def judge() -> Any:
    """pocket's judge."""
    from motif.loading import pocket_weights
    from motif.pocket.recipe.judge import load_judge

    return load_judge(pocket_weights() / "judge")


def asked_for(images: Sequence[Any], texts: Sequence[str]) -> list[float]:
    """The share of a prompt's place, and of what it adds, that the judge sees in its picture."""
    import torch

    from motif.pocket.recipe.judge import answers
    from motif.pocket.recipe.material import LABELS, normalised
    from motif.pocket.world.held_out import SIMPLE_PLACES

    pixels = torch.from_numpy(np.stack([np.asarray(image.convert("RGB")) for image in images]))
    seen = answers(judge(), normalised(pixels))
    found: list[float] = []
    for i, text in enumerate(texts):
        place = next(name for name, words in SIMPLE_PLACES.items() if text.endswith(words))
        right = [LABELS["context"][int(seen["context"][i])] == place]
        if thing := next((thing for thing in ("hat", "ball") if thing in text), ""):
            right.append(LABELS["accessory"][int(seen["accessory"][i])] == thing)
        found.append(float(np.mean(right)))
    return found


def main() -> None:
    """Learn, draw, measure; print the table."""
    from machine import processor
    from PIL import Image

    from motif.base import Base
    from motif.grids import grid
    from motif.pocket.concepts import held_out

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("-o", "--out", type=Path, default=Path("out/bench/dci"))
    parser.add_argument("--quick", action="store_true", help="one object, few pictures")
    parser.add_argument("--concepts", default="", help="other held-out objects, by name")
    asked = parser.parse_args()
    if asked.quick:
        asked.out /= "quick"  # its cells are no results
    size, base = QUICK if asked.quick else WHOLE, Base.load("pocket")
    by_name = {subject.name: subject for subject in held_out()}
    subjects = [by_name[name] for name in (asked.concepts.split(",") if asked.concepts else size.objects)]
    asked.out.mkdir(parents=True, exist_ok=True)
    found: dict[str, list[dict[str, list[float]]]] = {}
    costs: dict[str, int] = {}
    for subject in subjects:
        rows = rows_of(base, subject, size, asked.out)
        for row, (cost, draw) in rows.items():
            costs[row] = cost
            name = row.replace(":", "")
            one = cell(
                asked.out / "cells",
                subject.name,
                name,
                known_by(base, size),
                lambda s=subject, n=name, d=draw: scored(s, n, d, size, asked.out),
            )
            found.setdefault(row, []).append(one)
        shown = [
            Image.open(asked.out / "cells" / f"{subject.name} - {row.replace(':', '')} {i}.png")
            for row in rows
            for i in range(size.prompts)
        ]
        labels = [row if not i else "" for row in rows for i in range(size.prompts)]
        grid(shown, labels=labels, columns=size.prompts, cell=112).save(
            asked.out / f"sheet-{subject.name}.png"
        )
    lines, means = table(found, costs)
    head = (
        f"{', '.join(s.name for s in subjects)}; {size.prompts} prompts x {size.seeds} seeds each, {size.steps} DDIM "
        f"steps, {size.learning} steps of learning; mean ± standard error over pictures; {processor()}, {date.today()}."
    )
    text = "\n".join([head, "", *lines]) + "\n"
    (asked.out / "dci.md").write_text(text)
    (asked.out / "dci.json").write_text(json.dumps({"rows": means, "evaluations": costs}, indent=1))
    figure(means, asked.out / "dci.png")
    if not (asked.quick or asked.concepts):
        shutil.copy(asked.out / "dci.png", DOCS / "pictures" / "dci.png")
        shutil.copy(
            asked.out / f"masks-{subjects[-1].name}-{known_by(base, size)}.png",
            DOCS / "pictures" / "dci-masks.png",
        )
        (DOCS / "dci.md").write_text(PAGE.format(text), encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
