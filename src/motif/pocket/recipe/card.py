"""Measures the shipped weights on held-out pictures and captions, and writes the model card."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import torch
from diffusers import StableDiffusionPipeline

from motif.files import written
from motif.pocket.recipe.figures import (
    Figure,
    clip_figures,
    dino_figures,
    draw,
    judge_figures,
    kid_figure,
    probe_figures,
    sample_figures,
    seeds_figure,
    speed_figures,
    vae_figures,
)
from motif.pocket.recipe.judge import load_judge
from motif.pocket.recipe.material import as_bytes, load_material, material_from, write_grid
from motif.pocket.recipe.shipping import folder_size
from motif.pocket.recipe.unet import GUIDANCE, STEPS
from motif.pocket.world.held_out import read_pairs
from motif.pocket.world.shards import read_shards

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
    "ddim inversion psnr dB": (24, YES),
    "noun's attention inside over outside": (2, YES),
    "seconds for 1": (NO, 2.5),
    "seconds for 8": (NO, 10),
}
"""The least and the most that each figure should be."""


@torch.no_grad()
def measure_card(
    folder: Path | str, shards: Path | str, *, samples: int = 200, seed: int = 0, threads: int = 2
) -> list[Figure]:
    """Measures a shipped folder; writes MODEL_CARD.md, card.json, card.png and card.txt into it.

    Pictures and captions are the 200 held-out pairs of the package; views of one instance are those of the held-out
    instances of `shards`, and of its crowd.
    """
    folder = Path(folder)
    torch.set_num_threads(threads)
    pictures, captions, full = read_pairs(HELD_OUT)
    pairs, held_out = material_from(pictures), load_material(Path(shards))[1]
    crowd = material_from(read_shards(shards, kind="crowd"))
    pipeline = StableDiffusionPipeline.from_pretrained(
        folder / "pipeline", dtype=torch.float32, safety_checker=None
    )
    judge = load_judge(folder / "judge")
    asked, captions = pairs.take(torch.arange(samples)), captions[:samples]
    images = draw(pipeline, captions, seed)
    figures = [
        *vae_figures(pipeline.vae, pairs),
        *clip_figures(folder / "clip", pairs, full, held_out),
        *dino_figures(folder / "dino", held_out),
        *judge_figures(judge, pairs, crowd),
        *sample_figures(judge, images, asked, captions),
        kid_figure(folder / "dino", images, held_out),
        seeds_figure(pipeline, folder / "dino", captions[:32]),
        *probe_figures(folder, pairs, read_pairs(HELD_OUT)[1]),
        *speed_figures(pipeline),
    ]
    write_grid(as_bytes(images[:100]), 10, folder / "card.png", scale=1)
    with written(folder / "card.txt") as path:
        path.write_text("\n".join(captions[:100]) + "\n", encoding="utf-8")
    write_card(folder, figures)
    return figures


def weights_of(folder: Path) -> str:
    """Sixteen hex digits of all weight files under a folder, of their places and their bytes."""
    files = {file.relative_to(folder).as_posix(): file for file in folder.rglob("*.safetensors")}
    lines = [f"{hashlib.sha256(files[name].read_bytes()).hexdigest()}  {name}\n" for name in sorted(files)]
    return hashlib.sha256("".join(lines).encode()).hexdigest()[:16]


def history(weights: str) -> str:
    """How these weights were made, if they are those that motif ships: `history.md` names them in its first line."""
    first, _, text = (Path(__file__).parent / "history.md").read_text(encoding="utf-8").partition("\n")
    if first.removeprefix("weights: ") != weights:
        return "Not by motif's authors: these are not the weights that motif ships. The run's logs tell more."
    return text.strip()


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
        rows="\n".join(row(one) for one in figures),
        parts=parts,
        steps=STEPS,
        guidance=GUIDANCE,
        weights=weights,
        history=history(weights),
    )
    with written(folder / "MODEL_CARD.md") as path:
        path.write_text(text, encoding="utf-8")
    data = json.dumps({"weights": weights, "figures": [asdict(one) for one in figures]}, indent=1)
    with written(folder / "card.json") as path:
        path.write_text(data.replace("NaN", "null") + "\n", encoding="utf-8")


def row(one: Figure) -> str:
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

`pipeline/` loads with `StableDiffusionPipeline.from_pretrained`. `clip/` scores (it shares nothing with the
text tower that conditions the UNet), `condition-clip/` is that tower's own image side, `dino/` tells
instances apart, `judge/` is the tests' classifier.

## Measured on held-out pictures

Of the weights `{weights}` (a digest of all weight files in this folder, by which a test knows them).
Means with standard errors over n pictures (for "nearer": over classes; "among 64": over instances; for seconds:
over repeats; for KID the deviation over subsets of 100). Samples: {steps} DDIM steps, guidance {guidance},
held-out captions; the judge holds a sample to what its caption says, of a striped or checked object with either
colour first. Floor: another caption's sample, for KID renders of other objects; ceiling: the render of the same
caption, for two seeds the distance of two captions. "Judge colour" is its first guess, "judge colours" its first two
where an object has two colours; a pencil drawing has none and is not counted. Seconds are those of the stock
pipeline on two cores.

| figure | mean | standard error | n | floor | ceiling | asked |
|---|---|---|---|---|---|---|
{rows}

The first hundred samples (`card.txt` has their captions):

![samples](card.png)

## How it was made

{history}
"""
