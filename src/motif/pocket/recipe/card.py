"""Measures the shipped weights on held-out pictures and captions, part by part, and writes the model card."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from diffusers import StableDiffusionPipeline

from motif.files import written
from motif.pocket.recipe.drawn import (
    SMALL_CAPTIONS,
    decoded_noise,
    draw,
    empty_places,
    kid_figure,
    sample_figures,
    seeds_figure,
    speed_figures,
    there_figures,
)
from motif.pocket.recipe.figures import (
    Figure,
    clip_figures,
    instance_figures,
    judge_figures,
    probe_figures,
    vae_figures,
)
from motif.pocket.recipe.judge import Judge, load_judge
from motif.pocket.recipe.material import Material, as_bytes, material_from, write_grid
from motif.pocket.recipe.shipping import folder_size
from motif.pocket.recipe.unet import GUIDANCE, STEPS
from motif.pocket.recipe.whose import history, weights_of
from motif.pocket.world.held_out import read_pairs
from motif.pocket.world.shards import read_shards

EMPTY = 64
"""How many places are rendered without an object."""
HELD_OUT = Path(__file__).parents[1] / "data"
NO, YES = -math.inf, math.inf
ASKED: Mapping[str, tuple[float, float]] = {
    "vae psnr dB": (28, YES),
    "vae colour error": (NO, 2),
    "clip caption among 64": (0.85, YES),
    "dino instance nearer": (0.90, YES),
    "judge noun": (0.97, YES),
    "judge context": (0.97, YES),
    "judge colours": (0.95, YES),
    "judge instance among 64": (0.85, YES),
    "samples noun": (0.85, YES),
    "samples context": (0.90, YES),
    "samples colour": (0.80, YES),
    "samples accessory": (0.60, YES),
    "two seeds' distance (dino)": (0.1, YES),
    "ddim inversion psnr dB": (24, YES),
    "noun's attention inside over outside": (2, YES),
    "seconds for 1": (NO, 2.5),
    "seconds for 8": (NO, 10),
}
"""The least and the most that each figure should be."""


@dataclass(frozen=True)
class Subject:
    """A shipped folder under measurement, with the pictures it is measured on; each is read when it is asked for."""

    folder: Path
    shards: Path
    samples: int
    seed: int

    @cached_property
    def pipeline(self) -> Any:
        return StableDiffusionPipeline.from_pretrained(
            self.folder / "pipeline", dtype=torch.float32, safety_checker=None
        )

    @cached_property
    def judge(self) -> Judge:
        return load_judge(self.folder / "judge")

    @cached_property
    def held_out(self) -> tuple[Material, list[str], list[str]]:
        """The package's pairs: pictures, captions, full captions."""
        pictures, captions, full = read_pairs(HELD_OUT)
        return material_from(pictures), captions, full

    def shard(self, kind: str) -> Material:
        return material_from(read_shards(self.shards, kind=kind))

    def drawn(self) -> list[Figure]:
        """What the pipeline draws of the pairs' captions; also writes card.png and card.txt."""
        pairs, captions, _ = self.held_out
        asked, captions = pairs.take(torch.arange(self.samples)), captions[: self.samples]
        images, small = (draw(self.pipeline, texts, self.seed) for texts in (captions, SMALL_CAPTIONS))
        noise = decoded_noise(self.pipeline, self.samples)
        empty = empty_places(pairs.scenes[: min(self.samples, EMPTY)])
        write_grid(as_bytes(images[:100]), 10, self.folder / "card.png", scale=1)
        with written(self.folder / "card.txt") as path:
            path.write_text("\n".join(captions[:100]) + "\n", encoding="utf-8")
        return [
            *sample_figures(self.judge, images, asked, captions),
            *there_figures(self.judge, images, small, pairs, empty),
            kid_figure(self.folder / "dino", images, asked, noise),
            seeds_figure(self.pipeline, self.folder / "dino", captions[:32]),
        ]


PARTS: Mapping[str, Callable[[Subject], list[Figure]]] = {
    "vae": lambda of: vae_figures(of.pipeline.vae, of.held_out[0]),
    "clip": lambda of: clip_figures(of.folder / "clip", of.held_out[0], of.held_out[2]),
    "judge": lambda of: judge_figures(of.judge, of.held_out[0]),
    "instances": lambda of: instance_figures(of.folder, of.judge, of.shard("apart"), of.shard("crowd")),
    "samples": Subject.drawn,
    "probes": lambda of: probe_figures(of.folder, of.held_out[0], of.held_out[1]),
    "speed": lambda of: speed_figures(of.pipeline),
}
"""The card's parts, in its order."""
READ: Mapping[str, Sequence[str]] = {
    "vae": ("pipeline",),
    "clip": ("clip",),
    "judge": ("judge",),
    "instances": ("clip", "condition-clip", "dino", "judge"),
    "samples": ("pipeline", "dino", "judge"),
    "probes": ("pipeline",),
    "speed": ("pipeline",),
}
"""The folders whose weights each part measures or measures with."""


@torch.no_grad()
def measure_card(
    folder: Path | str,
    shards: Path | str,
    *,
    parts: Collection[str] = tuple(PARTS),
    samples: int = 200,
    seed: int = 0,
    threads: int = 2,
    machine: str = "",
) -> list[Figure]:
    """Measures these parts of a shipped folder; writes MODEL_CARD.md, card.json, card.png and card.txt into it after
    each. What card.json says of the other parts stays where it is of the same weights (of the folders in `READ`).

    Pictures and captions are the 200 held-out pairs of the package; "instances" also reads the kinds "apart" and
    "crowd" of `shards`. `machine` is what the card calls this one.
    """
    torch.set_num_threads(threads)
    subject = Subject(Path(folder), Path(shards), samples, seed)
    told = ", ".join(filter(None, (str(date.today()), machine, f"{threads} thread{'s' * (threads > 1)}")))
    found = kept(subject.folder)
    for part, measure in PARTS.items():
        if part in parts:
            found[part] = [replace(one, part=part, measured=told) for one in measure(subject)]
            write_card(subject.folder, [one for name in PARTS for one in found.get(name, [])])
    return [one for name in PARTS for one in found.get(name, [])]


def kept(folder: Path) -> dict[str, list[Figure]]:
    """The figures of each part that card.json has of the present weights of what the part reads."""
    path = folder / "card.json"
    said: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"figures": []}
    then, now = said.get("folders", {}), folders_of(folder)
    found: dict[str, list[Figure]] = {}
    for one in said["figures"]:
        if all(then.get(name) == now.get(name) for name in READ.get(one.get("part"), now)):
            error = float("nan") if one["error"] is None else one["error"]  # of one picture
            found.setdefault(one.get("part", ""), []).append(Figure(**one | {"error": error}))
    return found


def folders_of(folder: Path) -> dict[str, str]:
    """{part of a shipped folder: its `weights_of`}."""
    return {name: weights_of(folder / name) for names in READ.values() for name in names}


def missed(one: Figure) -> bool:
    """Whether a figure lies outside what is asked."""
    least, most = ASKED.get(one.name, (NO, YES))
    return not least <= one.value <= most


def write_card(folder: Path, figures: Sequence[Figure]) -> None:
    """MODEL_CARD.md and card.json, atomically; both name the weights that were measured (`weights_of`)."""
    weights = weights_of(folder)
    parts = "\n".join(
        f"| `{part.name}/` | {folder_size(part) / 1e6:.1f} MB |"
        for part in sorted(folder.iterdir())
        if part.is_dir()
    )
    text = CARD.format(
        rows="\n".join(row(one, marks(figures)[one.measured]) for one in figures),
        parts=parts,
        steps=STEPS,
        guidance=GUIDANCE,
        weights=weights,
        measured="; ".join(f"({mark}) {told}" for told, mark in marks(figures).items()),
        history=history(weights),
    )
    with written(folder / "MODEL_CARD.md") as path:
        path.write_text(text, encoding="utf-8")
    said = {"weights": weights, "folders": folders_of(folder), "figures": [asdict(one) for one in figures]}
    data = json.dumps(said, indent=1)
    with written(folder / "card.json") as path:
        path.write_text(data.replace("NaN", "null") + "\n", encoding="utf-8")


def marks(figures: Sequence[Figure]) -> dict[str, str]:
    """A letter for each day and machine on which some figure was measured."""
    return {told: chr(ord("a") + i) for i, told in enumerate(dict.fromkeys(one.measured for one in figures))}


def row(one: Figure, mark: str) -> str:
    """A figure as a row of the card's table."""
    least, most = ASKED.get(one.name, (NO, YES))
    asked = f"≥ {least:g}" if least > NO else f"≤ {most:g}" if most < YES else ""
    bounds = ("" if bound is None else f"{bound:.3f}" for bound in (one.floor, one.ceiling))
    cells = [
        one.name,
        f"{one.value:.3f}",
        f"{one.error:.3f}",
        str(one.count),
        *bounds,
        asked + " (missed)" * missed(one),
        mark,
    ]
    return f"| {' | '.join(cells)} |"


CARD = """# pocket

A small text-to-image diffusion model of 64 px, in the shape of Stable Diffusion, with the readers that
measure it. It was trained from scratch by motif's own recipe (`motif pocket train`) on pictures that motif
renders itself (`motif pocket render`). No photograph, no person and no foreign weights went into it. Licence:
Apache-2.0, like motif.

It is made to learn and compare methods offline, on two CPU cores. It knows a toy world of a few objects,
places and colours,
and nothing else: it is no use as a picture generator beyond that.

| part | size (float16) |
|---|---|
{parts}

`pipeline/` loads with `StableDiffusionPipeline.from_pretrained`. `clip/` scores (it shares the tokenizer, and no
weights, with the text tower that conditions the UNet), `condition-clip/` is that tower's own image side, `dino/` tells
instances apart, `judge/` is the tests' classifier.

## Measured on held-out pictures

Of the weights `{weights}` (a digest of all weight files in this folder, by which a test knows them), by
`motif pocket card`: {measured}.

Means with standard errors over n pictures; for "nearer" over classes, for "among 64" over instances, for seconds over
repeats, for KID by the bootstrap: 1,000 times all pictures drawn anew with replacement. Samples: {steps} DDIM steps,
guidance {guidance}, the 200 held-out captions; the judge holds a sample to what its caption says, of a striped or
checked object with either colour first. "Judge colour" is its first guess, "judge colours" its first two where an
object has two colours; a pencil drawing has none and is not counted. "Object there": the judge finds one, of half
the smallest held-out object's size or more; "asked small" are captions of a "far away" or "very small" object, which
is where the base is weakest.

| | floor: what nothing right gives | ceiling: what all right gives |
|---|---|---|
| vae | another picture's reconstruction | the picture as it comes out of a shard (AVIF) |
| judge, samples | the answer to another picture, another caption's sample | 1; the render of the same caption |
| object there | renders of the same places without an object | renders (asked small: renders of objects far away) |
| kid | decoded noise | one half of the renders against the other |
| two seeds' distance | the same picture | samples of two captions |
| inversion | another picture's reconstruction | the reconstruction in 8 bits |
| attention | the map of a random other word of the caption | the object's mask as the map |
| nearer, among 64 | chance | 1 |

Seconds are those of the stock pipeline, and have none.

| figure | mean | standard error | n | floor | ceiling | asked | measured |
|---|---|---|---|---|---|---|---|
{rows}

The first hundred samples (`card.txt` has their captions):

![samples](card.png)

## How it was made

{history}
"""
