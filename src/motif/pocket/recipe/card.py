"""Measures the shipped weights on held-out pictures and captions, and writes the model card."""

from __future__ import annotations

import json
import math
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from diffusers import StableDiffusionPipeline
from torch import Tensor
from transformers import AutoTokenizer, CLIPModel, ViTModel

from motif.base import Base
from motif.files import written
from motif.pocket.recipe.clip import blocks, token_ids
from motif.pocket.recipe.dino import nearer_share
from motif.pocket.recipe.judge import KINDS, Judge, answers, load_judge, measure_judge
from motif.pocket.recipe.latents import text_states
from motif.pocket.recipe.material import (
    LABELS,
    Material,
    as_bytes,
    load_material,
    material_from,
    normalised,
    write_grid,
)
from motif.pocket.recipe.probes import come_back, kernel_distances
from motif.pocket.recipe.shipping import folder_size
from motif.pocket.recipe.unet import GUIDANCE, STEPS, sample
from motif.pocket.recipe.vae import encode_all
from motif.pocket.world.held_out import read_pairs
from motif.pocket.world.phrases import PLACES

HELD_OUT = Path(__file__).parents[1] / "data"


@dataclass(frozen=True)
class Figure:
    """One measured number: its mean over `count` independent units, and the standard error of that mean."""

    name: str
    value: float
    error: float
    count: int

    def __str__(self) -> str:
        return f"{self.name}: {self.value:.3f} ± {self.error:.3f} (n = {self.count})"


def figure(name: str, values: Tensor) -> Figure:
    """Mean and standard error of [n] values."""
    values = values.double()
    error = values.std().item() / math.sqrt(len(values)) if len(values) > 1 else math.nan
    return Figure(name, values.mean().item(), error, len(values))


def vae_figures(vae: Any, held_out: Material) -> list[Figure]:
    """PSNR per picture in dB and colour error per picture in grey levels."""
    made = torch.cat(
        [vae.decode(piece).sample for piece in encode_all(vae, held_out.rgb, "cpu").split(64)]
    ).clamp(-1, 1)
    error = made - normalised(held_out.rgb)
    psnr = -10 * torch.log10(error.square().mean((1, 2, 3)) / 4)
    return [figure("vae psnr dB", psnr), figure("vae colour error", error.mean((2, 3)).abs().mean(1) * 127.5)]


def clip_figures(folder: Path, pairs: Material, captions: list[str], held_out: Material) -> list[Figure]:
    """The scoring CLIP: the right full caption among 64, the same instance nearer than a classmate."""
    clip = CLIPModel.from_pretrained(folder, dtype=torch.float32).eval()
    ids = token_ids(AutoTokenizer.from_pretrained(folder), captions)
    images = embeddings(clip, pairs)
    texts = clip.text_projection(clip.text_model(input_ids=ids).pooler_output)
    similarity = F.normalize(images, dim=1) @ F.normalize(texts, dim=1).T
    right = [
        (ids[i : i + 64][one.argmax(1)] == ids[i : i + 64]).all(1).float() for i, one in blocks(similarity)
    ]
    return [
        figure("clip caption among 64", torch.cat(right)),
        nearer("clip instance nearer", embeddings(clip, held_out), held_out),
    ]


def embeddings(clip: Any, material: Material) -> Tensor:
    """[picture, projection] of all pictures."""
    return torch.cat([image_embedding(clip, piece) for piece in normalised(material.rgb).split(64)])


def image_embedding(clip: Any, images: Tensor) -> Tensor:
    """[image, 3, 64, 64] → [image, projection]."""
    return clip.visual_projection(clip.vision_model(pixel_values=images).pooler_output)


def nearer(name: str, features: Tensor, held_out: Material) -> Figure:
    """The share of (picture, own, classmate's) triplets in which the own picture is nearer, averaged per
    class.
    """
    shares: list[float] = []
    for noun in range(len(LABELS["noun"])):
        rows = (held_out.labels["noun"] == noun).nonzero().flatten()
        share, count = nearer_share(features[rows], held_out.instance[rows], held_out.labels["noun"][rows])
        if count:
            shares.append(share)
    return figure(name, torch.tensor(shares))


def dino_figures(folder: Path, held_out: Material) -> list[Figure]:
    """The same instance nearer than a classmate, by DINO's CLS token."""
    return [nearer("dino instance nearer", dino_features(folder, normalised(held_out.rgb)), held_out)]


def dino_features(folder: Path, images: Tensor) -> Tensor:
    """[image, 3, 64, 64] → [image, width], DINO's CLS token."""
    model = ViTModel.from_pretrained(folder, add_pooling_layer=False, dtype=torch.float32).eval()
    return torch.cat([model(pixel_values=piece).last_hidden_state[:, 0] for piece in images.split(64)])


def kid_figure(folder: Path, images: Tensor, held_out: Material) -> Figure:
    """KID of samples against held-out renders, on DINO's features; its error is over subsets of both."""
    ours, theirs = dino_features(folder, images), dino_features(folder, normalised(held_out.rgb))
    distances = kernel_distances(ours, theirs)
    return Figure("samples kid (dino)", distances.mean().item(), distances.std().item(), len(distances))


def said(kind: str, name: str, caption: str) -> bool:
    """Whether a caption says this label, so that a sample can be held to it."""
    if kind == "context":
        return any(phrase in caption for phrase in PLACES[name])
    return name in caption.split()


def sample_figures(
    pipeline: Any, judge: Judge, asked: Material, captions: list[str], seed: int
) -> tuple[list[Figure], Tensor]:
    """What the judge sees in samples of held-out captions, each held to the labels that its caption says."""
    states = text_states(pipeline.text_encoder, pipeline.tokenizer, ["", *captions], "cpu").float()
    pieces = enumerate(states[1:].split(16))
    drawn = [sample(pipeline.unet, pipeline.vae, piece, states[:1], seed=seed + i) for i, piece in pieces]
    images = torch.cat(drawn)
    given = answers(judge, images)
    out: list[Figure] = []
    for kind in KINDS:
        names = [LABELS[kind][int(label)] for label in asked.labels[kind]]
        held = torch.tensor([said(kind, name, text) for name, text in zip(names, captions, strict=True)])
        if held.any():
            out.append(figure(f"samples {kind}", (given[kind] == asked.labels[kind])[held].float()))
    return out, images


def speed_figures(pipeline: Any, *, repeats: int = 3) -> list[Figure]:
    """Seconds for one and for eight pictures of 30 steps with guidance, on torch's present threads."""
    out: list[Figure] = []
    states = text_states(pipeline.text_encoder, pipeline.tokenizer, ["", "a photo of a dog"], "cpu").float()
    for count in (1, 8):
        seconds: list[float] = []
        for _ in range(repeats):
            start = time.perf_counter()
            sample(pipeline.unet, pipeline.vae, states[1:].expand(count, -1, -1), states[:1])
            seconds.append(time.perf_counter() - start)
        out.append(figure(f"seconds for {count}", torch.tensor(seconds)))
    return out


def probe_figures(folder: Path, pairs: Material, captions: list[str], *, count: int = 64) -> list[Figure]:
    """Inversion and attention on held-out photos whose caption names the object's class."""
    nouns = [LABELS["noun"][int(label)] for label in pairs.labels["noun"]]
    rows = [i for i, noun in enumerate(nouns) if said("noun", noun, captions[i])][:count]
    some = pairs.take(torch.tensor(rows))
    psnr, ratio = come_back(
        Base.load(str(folder / "pipeline"), device="cpu"),
        normalised(some.rgb),
        some.mask[:, None].float() / 255,
        [captions[i] for i in rows],
        [nouns[i] for i in rows],
    )
    return [figure("ddim inversion psnr dB", psnr), figure("noun's attention inside over outside", ratio)]


@torch.no_grad()
def measure_card(
    folder: Path | str, shards: Path | str, *, samples: int = 200, seed: int = 0, threads: int = 2
) -> list[Figure]:
    """Measures a shipped folder; writes MODEL_CARD.md, card.json and card.png into it.

    Pictures and captions are the 200 held-out pairs of the package; views of one instance are those of the
    held-out instances of `shards`.
    """
    folder = Path(folder)
    torch.set_num_threads(threads)
    pictures, captions, full = read_pairs(HELD_OUT)
    pairs, held_out = material_from(pictures), load_material(Path(shards))[1]
    pipeline = StableDiffusionPipeline.from_pretrained(
        folder / "pipeline", dtype=torch.float32, safety_checker=None
    )
    judge = load_judge(folder / "judge")
    figures = [
        *vae_figures(pipeline.vae, pairs),
        *clip_figures(folder / "clip", pairs, full, held_out),
        *dino_figures(folder / "dino", held_out),
        *judge_figures(judge, pairs, held_out),
    ]
    judged, images = sample_figures(
        pipeline, judge, pairs.take(torch.arange(samples)), captions[:samples], seed
    )
    judged.append(kid_figure(folder / "dino", images, held_out))
    figures += [*judged, *probe_figures(folder, pairs, captions), *speed_figures(pipeline)]
    write_grid(as_bytes(images[:100]), 10, folder / "card.png")
    write_card(folder, figures)
    return figures


def judge_figures(judge: Judge, pairs: Material, held_out: Material) -> list[Figure]:
    """The judge on held-out renders: labels, and the instance among its classmates."""
    given = answers(judge, normalised(pairs.rgb))
    out = [figure(f"judge {kind}", (given[kind] == pairs.labels[kind]).float()) for kind in KINDS]
    share = float(measure_judge(judge, held_out, "cpu")["instance_in_class"])
    return [*out, Figure("judge instance", share, binomial_error(share, len(held_out)), len(held_out))]


def binomial_error(share: float, count: int) -> float:
    """√(p (1 − p) / n)."""
    return math.sqrt(share * (1 - share) / max(1, count))


def write_card(folder: Path, figures: list[Figure]) -> None:
    """MODEL_CARD.md and card.json, atomically."""
    rows = "\n".join(f"| {one.name} | {one.value:.3f} | {one.error:.3f} | {one.count} |" for one in figures)
    parts = "\n".join(
        f"| `{part.name}/` | {folder_size(part) / 1e6:.1f} MB |"
        for part in sorted(folder.iterdir())
        if part.is_dir()
    )
    text = CARD.format(rows=rows, parts=parts, steps=STEPS, guidance=GUIDANCE)
    with written(folder / "MODEL_CARD.md") as path:
        path.write_text(text, encoding="utf-8")
    data = json.dumps([asdict(one) for one in figures], indent=1)
    with written(folder / "card.json") as path:
        path.write_text(data + "\n", encoding="utf-8")


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

Means with standard errors over n pictures (for "nearer": over classes; for seconds: over repeats; for KID the deviation
over subsets of 100). Samples:
{steps} DDIM steps, guidance {guidance}, held-out captions; the judge holds a sample
to the labels that its caption says.

| figure | mean | standard error | n |
|---|---|---|---|
{rows}

![samples](card.png)
"""
