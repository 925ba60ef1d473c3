"""DCI's trade-off on held-out objects: is fidelity at equal text alignment above the concept's own checkpoints?

`python bench/dci.py -o out` learns each object with ICO (scheme ico-for-dci) and with Custom Diffusion, keeps their
checkpoints, and draws eight prompts x four seeds with: every checkpoint, plainly; DCI with the last ICO concept over a
grid of balance x until; and the paper's ablations (lanes added without masks; prompts cut apart; the last layer alone).
Writes dci.md (CLIP-I, DINO-I, CLIP-T with standard errors over pictures, denoiser evaluations a picture, and how far
each DCI point lies above the checkpoints' curve), dci.json, tradeoff.png, a sheet and the mask pictures of each object.
`--quick` is one object, two checkpoints, few pictures. Concepts that are in the folder are not learned again.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from identity import ADDED
from methods import prior_of

STAND_IN = {"boat": "car", "cactus": "mushroom", "car": "boat", "cat": "dog"}  # nouns of pocket's world
ADDITION = (
    0.9  # what the auxiliary lane is multiplied by where lanes are added (the published code's history)
)


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
    ("boat", "cactus", "car", "cat"), 8, 4, 25, 400, 50, (-2.0, -1.0, 0.0, 1.0, 2.0), (0.15, 0.3, 0.6)
)
QUICK = Size(("cat",), 4, 2, 12, 200, 100, (0.0, 2.0), (0.3, 0.6))
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
        run = out / f"{subject.name}-{name}.run"
        files = [run / f"concept-{step:04d}.safetensors" for step in steps]
        if not all(file.is_file() for file in files):
            prior = str(prior_of(base, subject.noun, out / f"prior-{subject.noun}", 48))
            methods.load("learn", name)(
                base, examples, steps=size.learning, prior=prior, folder=run, checkpoint_every=size.every, **settings
            )  # fmt: skip
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


def rows_of(base: Any, subject: Any, size: Size, out: Path) -> dict[str, tuple[int, list[Any]]]:
    """{row: (evaluations a picture, pictures)} of one object."""
    from motif.sample.two_lanes import evaluations

    learned = checkpoints(base, subject, size, out)
    openings, phrase = prompts_of(subject, size.prompts), f"<new1> {subject.noun}"
    plain = 2 * size.steps
    rows: dict[str, tuple[int, list[Any]]] = {
        "base: class word": (plain, plainly(base, subject.noun, openings, size))
    }
    for name, found in learned.items():
        for step, concept in found:
            rows[f"{name} {step}"] = plain, plainly(base.wear(concept), phrase, openings, size)
    me = base.wear(learned["ico"][-1][1])
    for until in size.untils:
        cost = evaluations(size.steps, until, guided=True, shared=True)
        for balance in size.balances:
            images = with_dci(me, subject, openings, size, balance, until=until)
            rows[f"dci {balance:g}, until {until:g}"] = cost, images
    until = 0.3 if 0.3 in size.untils else size.untils[-1]
    cost = evaluations(size.steps, until, guided=True, shared=True)
    ablated: dict[str, Callable[[], list[Any]]] = {
        "without mask": lambda: with_dci(me, subject, openings, size, ADDITION, until=until, masks="none"),
        "without entire prompt": lambda: cut_apart(me, subject, openings, size, 1.0, until),
        "without deep aggregation": lambda: with_dci(
            me, subject, openings, size, ADDITION, until=until, masks="none", layers="last"
        ),
    }
    rows |= {f"{name}, until {until:g}": (cost, drawn()) for name, drawn in ablated.items()}
    _masks(me, subject, openings[0].format(phrase), size, until).save(out / f"masks-{subject.name}.png")
    return rows


def _masks(me: Any, subject: Any, prompt: str, size: Size, until: float) -> Any:
    from motif.sample import dci

    found = dci(me, prompt, steps=size.steps, until=until, stand_in=[STAND_IN.get(subject.noun, "cat")],
                balances=[min(size.balances), max(size.balances)], show_masks=True)  # fmt: skip
    return found.sheets["masks"]


def measured(subject: Any, rows: dict[str, tuple[int, list[Any]]], size: Size) -> dict[str, dict[str, Any]]:
    """{row: {metric: Score}} of one object."""
    from motif.features.extractors import ClipEncoder, DinoEncoder
    from motif.measure import clip_i, clip_t, dino_i

    clip, dino = ClipEncoder.load("pocket"), DinoEncoder.load("pocket")
    openings = prompts_of(subject, size.prompts)
    texts = [opening.format(subject.noun) for opening in openings for _ in range(size.seeds)]
    return {
        row: {
            "CLIP-I": clip_i(images, subject.references, encoder=clip),
            "DINO-I": dino_i(images, subject.references, encoder=dino),
            "CLIP-T": clip_t(images, texts, encoder=clip),
        }
        for row, (_, images) in rows.items()
    }


def mean(scores: Sequence[Any]) -> tuple[float, float]:
    """Mean and standard error over all pictures."""
    values = np.concatenate([np.asarray([*score.per_image], dtype=float) for score in scores])
    return float(values.mean()), float(values.std(ddof=1) / len(values) ** 0.5)


def above(point: tuple[float, float], curve: Sequence[tuple[float, float]]) -> float:
    """How much more image alignment a (text, image) point has than a curve's front at its text alignment; beyond the
    front's ends it is compared with the end. The front are the points that no other beats in both."""
    front = sorted(
        (x, y) for x, y in curve if not any(a >= x and b >= y and (a, b) != (x, y) for a, b in curve)
    )
    return point[1] - float(np.interp(point[0], [x for x, _ in front], [y for _, y in front]))


def table(
    found: Sequence[dict[str, dict[str, Any]]], costs: dict[str, int]
) -> tuple[list[str], dict[str, Any]]:
    """The lines of dci.md, and {row: {metric: (mean, error)}}."""
    names = ("CLIP-I", "DINO-I", "CLIP-T")
    means = {row: {m: mean([f[row][m] for f in found]) for m in names} for row in found[0]}
    point = {row: (m["CLIP-T"][0], m["CLIP-I"][0]) for row, m in means.items()}
    curves = {
        name: [point[row] for row in point if row.startswith((f"{name} ", "base"))] for name in LEARNING
    }
    lines = [
        "| | CLIP-T x2.5 | CLIP-I | DINO-I | evaluations | above ICO's checkpoints | above Custom Diffusion's |",
        "|---|---|---|---|---|---|---|",
    ]
    for row, m in means.items():
        cells = [f"{m[name][0]:.3f} ± {m[name][1]:.3f}" for name in ("CLIP-T", "CLIP-I", "DINO-I")]
        new = row.startswith(("dci", "without"))
        gaps = [f"{above(point[row], curve):+.3f}" if new else "" for curve in curves.values()]
        lines.append(f"| {row} | {' | '.join(cells)} | {costs[row]} | {' | '.join(gaps)} |")
    return lines, means


def figure(means: dict[str, Any], path: Path) -> None:
    """Image over text alignment, with standard errors: two curves of checkpoints, one of DCI for each `until`."""
    from matplotlib.figure import Figure

    groups: dict[str, list[str]] = {}
    for row in means:
        if row.startswith("dci"):
            name = f"DCI, until {row.rpartition(' until ')[2]}"
        else:
            name = row if row.startswith(("base", "without")) else row.rpartition(" ")[0]
        groups.setdefault(name, []).append(row)
    drawing = Figure(figsize=(8, 5.5), dpi=110, layout="constrained")
    axes = drawing.subplots()
    for name, rows in groups.items():
        x, y = ([means[row][metric] for row in rows] for metric in ("CLIP-T", "CLIP-I"))
        axes.errorbar(
            [a for a, _ in x], [b for b, _ in y], xerr=[e for _, e in x], yerr=[e for _, e in y],
            label=name, marker="o", markersize=4, linewidth=1.5 if len(rows) > 1 else 0, elinewidth=0.6, capsize=2,
        )  # fmt: skip
    axes.set_xlabel("text alignment (CLIP-T)")
    axes.set_ylabel("image alignment (CLIP-I)")
    axes.legend(fontsize=8)
    axes.grid(alpha=0.2)
    drawing.savefig(path)


def main() -> None:
    """Learn, draw, measure; print the table."""
    from machine import processor

    from motif.base import Base
    from motif.grids import grid
    from motif.pocket.concepts import held_out

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--out", type=Path, default=Path("out/dci"))
    parser.add_argument("--quick", action="store_true", help="one object, few pictures")
    parser.add_argument("--concepts", default="", help="other held-out objects, by name")
    asked = parser.parse_args()
    size = QUICK if asked.quick else WHOLE
    begun, base = time.monotonic(), Base.load("pocket")
    by_name = {subject.name: subject for subject in held_out()}
    subjects = [by_name[name] for name in (asked.concepts.split(",") if asked.concepts else size.objects)]
    asked.out.mkdir(parents=True, exist_ok=True)
    found: list[dict[str, dict[str, Any]]] = []
    costs: dict[str, int] = {}
    for subject in subjects:
        rows = rows_of(base, subject, size, asked.out)
        costs |= {row: cost for row, (cost, _) in rows.items()}
        found.append(measured(subject, rows, size))
        shown = [
            (image, f"{row}: {prompt}")
            for row, (_, images) in rows.items()
            for image, prompt in zip(images[:: size.seeds], prompts_of(subject, size.prompts), strict=True)
        ]
        grid([i for i, _ in shown], labels=[t.replace("a photo of a {} ", "") for _, t in shown], columns=size.prompts,
             cell=112).save(asked.out / f"sheet-{subject.name}.png")  # fmt: skip
        lines, means = table(found, costs)
        head = (
            f"DCI on pocket: {', '.join(s.name for s in subjects[: len(found)])}; {size.prompts} prompts x "
            f"{size.seeds} seeds, {size.steps} DDIM steps; mean ± standard error over pictures; {processor()}, "
            f"{time.monotonic() - begun:.0f} s."
        )
        (asked.out / "dci.md").write_text("\n".join([head, "", *lines]) + "\n")
        (asked.out / "dci.json").write_text(json.dumps({"rows": means, "evaluations": costs}, indent=1))
        figure(means, asked.out / "tradeoff.png")
        print("\n".join([head, "", *lines]), flush=True)


if __name__ == "__main__":
    main()
