"""What the demo shows: one sheet, and one report page."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from motif.edit.edited import Edited
from motif.grids import grid
from motif.images import open_picture
from motif.learn.run import METRICS
from motif.measure.score import Score
from motif.pocket.concepts import HeldOut
from motif.report import Code, Curve, Grid, Picture, Pictures, Section, Table, curve, write_report

if TYPE_CHECKING:
    from PIL.Image import Image

TOKEN = "<new1>"
SEEDS = (0, 1)


@dataclass(frozen=True, eq=False)
class Answer:
    """What one base drew for one wording, place by place."""

    prompts: tuple[str, ...]
    images: tuple[Image, ...]  # one per prompt and seed, seeds fastest

    def first(self, place: int) -> Image:
        return self.images[place * len(SEEDS)]


def sheet(subject: HeldOut, before: Answer, after: Answer, edited: Edited) -> Image:
    """One picture of it all: the photos, a row per seed of the base's answer, then of the learned token's, the edit."""
    rows = [[open_picture(path).image for path in subject.references]]
    rows += [list(answer.images[i :: len(SEEDS)]) for answer in (before, after) for i in range(len(SEEDS))]
    labels = ["a photo"] * len(rows[0])
    labels += [f"{subject.noun} {p}" for p in subject.places] * len(SEEDS)
    labels += [f"{TOKEN} {subject.noun} {p}" for p in subject.places] * len(SEEDS)
    rows += [[edited.sources[0], edited.reconstructions[0], edited.image]]
    labels += [f"another {subject.noun}", "its reconstruction", f"{TOKEN} {subject.noun} in its place"]
    return grid([image for row in rows for image in row], columns=len(rows[0]), labels=labels, cell=128)


def report(
    out: Path,
    subject: HeldOut,
    before: Answer,
    after: Answer,
    edited: Edited,
    scores: dict[str, dict[str, Score]],
    measured: dict[str, Any],
) -> None:
    """The page: photos, places, the edit, scores, training, and how to do it by hand."""
    photos = tuple(Picture(path, "") for path in subject.references)
    rows = {
        place: (Picture(before.first(i)), Picture(after.first(i))) for i, place in enumerate(subject.places)
    }
    table = [
        [
            row,
            *(found[m].mean if m in found else None for m in ("clip-i", "dino-i", "clip-t")),
            found["clip-i"].n,
        ]
        for row, found in scores.items()
    ]
    log = [json.loads(line) for line in (out / "run" / METRICS).read_text().splitlines()]
    loss = curve({"loss, mean of 10 steps": _smooth([(e["step"], e["loss"]) for e in log])}, "step", "loss")
    choices = scores[f"learned {TOKEN}"]["clip-t"].choices
    write_report(
        out / "report.html",
        f"A {subject.noun}, learned from {len(photos)} photos",
        [
            Section("The photos", f"One {subject.noun} that the base has never seen.", (Pictures(photos),)),
            Section(
                "In other places",
                f"The same words and the same seeds: the base with the class word, and with {TOKEN} learned.",
                (Grid(("the base", f"with {TOKEN}"), rows),),
            ),
            Section(
                "In a picture that is there",
                f'"{edited.settings["caption"]}", edited to "{edited.prompts[0]}": Custom-Edit on a direct inversion. '
                "Outside of the mask the picture is its own reconstruction.",
                (Pictures((Picture(edited.strip(), "", width=512),)),),
            ),
            Section(
                "Scores",
                "Image alignment is the mean cosine with the photos. What other objects of the class reach is the "
                "floor; what unseen photos of the same object reach is the ceiling.",
                (Table(("pictures", "CLIP-I", "DINO-I", "CLIP-T x2.5", "n"), table),),
            ),
            Section("Training", measured["changed"] + ".", (Curve(loss),)),
            Section("Again, by hand", "", (Code(_commands(subject, measured)),)),
        ],
        lead="Custom Diffusion on pocket, motif's embedded base: everything here was made on this machine, offline.",
        foot=f"{measured['seconds']} seconds. {', '.join(f'{k} {v}' for k, v in measured['versions'].items())}. "
        f"Scores: {', '.join(f'{k} {v}' for k, v in choices.items())}.",
    )


def _commands(subject: HeldOut, measured: Mapping[str, Any]) -> str:
    phrase, file = f"photo of a {TOKEN} {subject.noun}", f"{subject.noun}.safetensors"
    settings = ["--steps", str(measured["steps"]), "--seed", str(measured["seed"]), "-o", file]
    place = ["--wear", file, "-n", "4", "--steps", "30", "-o", "drawn"]
    learn = ["motif", "learn", "custom-diffusion", str(subject.folder), phrase, *settings]
    sample = ["motif", "sample", "plain", f"a {phrase} {subject.places[0]}", *place]
    return "\n".join(map(shlex.join, (learn, sample)))


def _smooth(points: list[tuple[int, float]], width: int = 10) -> list[tuple[float, float]]:
    groups = [points[i : i + width] for i in range(0, len(points), width)]
    return [(group[-1][0], sum(loss for _, loss in group) / len(group)) for group in groups]
