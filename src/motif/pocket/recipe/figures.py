"""What the model card says of the shipped weights: one function for each group of figures."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import AutoTokenizer, CLIPModel, ViTModel

from motif.base import Base
from motif.pocket.recipe.clip import blocks, token_ids
from motif.pocket.recipe.dino import nearer_share
from motif.pocket.recipe.judge import KINDS, Judge, agreement, classified, identities
from motif.pocket.recipe.latents import text_states
from motif.pocket.recipe.material import LABELS, Material, normalised
from motif.pocket.recipe.probes import come_back, kernel_distances
from motif.pocket.recipe.unet import GUIDANCE, STEPS, sample
from motif.pocket.recipe.vae import encode_all
from motif.pocket.world.phrases import PLACES
from motif.pocket.world.scene import NOUNS


@dataclass(frozen=True)
class Figure:
    """One measured number: its mean over `count` independent units, the standard error of that mean, and what
    the measure gives where nothing is right (floor) and where all is (ceiling), if that says something.
    """

    name: str
    value: float
    error: float
    count: int
    floor: float | None = None
    ceiling: float | None = None

    def __str__(self) -> str:
        return f"{self.name}: {self.value:.3f} ± {self.error:.3f} (n = {self.count})"


def figure(name: str, values: Tensor) -> Figure:
    """Mean and standard error of [n] values; NaN is no value, and is not counted."""
    values = values[~values.isnan()].double()
    error = values.std().item() / math.sqrt(len(values)) if len(values) > 1 else math.nan
    return Figure(name, values.mean().item(), error, len(values))


def vae_figures(vae: Any, held_out: Material) -> list[Figure]:
    """PSNR per picture in dB; the mean colour's error, of the picture and of its object, in grey levels."""
    made = torch.cat(
        [vae.decode(piece).sample for piece in encode_all(vae, held_out.rgb, "cpu").split(64)]
    ).clamp(-1, 1)
    error, inside = made - normalised(held_out.rgb), held_out.mask[:, None].float() / 255
    psnr = -10 * torch.log10(error.square().mean((1, 2, 3)) / 4)
    own = (error * inside).sum((2, 3)) / inside.sum((2, 3)).clamp(min=1)
    return [
        figure("vae psnr dB", psnr),
        figure("vae colour error", error.mean((2, 3)).abs().mean(1) * 127.5),
        figure("vae colour error inside the object", own.abs().mean(1) * 127.5),
    ]


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
        replace(figure("clip caption among 64", torch.cat(right)), floor=1 / 64, ceiling=1.0),
        nearer("clip instance nearer", embeddings(clip, held_out), held_out),
    ]


def embeddings(clip: Any, material: Material) -> Tensor:
    """[picture, projection] of all pictures."""
    return torch.cat([image_embedding(clip, piece) for piece in normalised(material.rgb).split(64)])


def image_embedding(clip: Any, images: Tensor) -> Tensor:
    """[image, 3, 64, 64] → [image, projection]."""
    return clip.visual_projection(clip.vision_model(pixel_values=images).pooler_output)


def nearer(name: str, features: Tensor, held_out: Material) -> Figure:
    """The share of (picture, own in another place, classmate's) triplets in which the own picture is nearer, averaged
    per class.
    """
    shares: list[float] = []
    for noun in range(len(LABELS["noun"])):
        rows = (held_out.labels["noun"] == noun).nonzero().flatten()
        share, count = nearer_share(features[rows], held_out.take(rows))
        if count:
            shares.append(share)
    return replace(figure(name, torch.tensor(shares)), floor=0.5, ceiling=1.0)


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
    half = held_out.instance % 2 == 0
    real = kernel_distances(theirs[half], theirs[~half]).mean().item()
    return Figure("samples kid (dino)", distances.mean().item(), distances.std().item(), len(distances), real)


def seeds_figure(pipeline: Any, folder: Path, captions: list[str]) -> Figure:
    """1 − cosine of DINO's features of two seeds' samples of a caption; as ceiling, that of two captions'."""
    one, two = (
        F.normalize(dino_features(folder, draw(pipeline, captions, seed)), dim=1) for seed in (100, 200)
    )
    apart = 1 - (one * two.roll(1, 0)).sum(1).mean().item()
    return replace(figure("two seeds' distance (dino)", 1 - (one * two).sum(1)), floor=0.0, ceiling=apart)


def said(kind: str, name: str, caption: str) -> bool:
    """Whether a caption says this label of its object, so that a sample can be held to it."""
    if kind == "context":
        return any(phrase in caption for phrase in PLACES[name])
    words = caption.split()
    if kind == "colour":  # what comes after the noun is some other thing's, or its part's
        return name in words[: next(i for i, word in enumerate(words) if word in NOUNS)]
    return name in words


def held(logits: dict[str, Tensor], asked: Material, captions: Sequence[str]) -> dict[str, Tensor]:
    """Per kind of label, [image]: 1 where the judge sees what the caption says, 0 where not, NaN where it says nothing
    of the kind. Of a striped or checked object's two colours either may come first.
    """
    right = agreement(logits, asked)
    first_two = (logits["colour"].topk(2).indices == asked.labels["colour"][:, None]).any(1).float()
    two = torch.tensor([bool({"striped", "checked"} & set(text.split())) for text in captions])
    right["colour"] = torch.where(two & ~right["colour"].isnan(), first_two, right["colour"])
    for kind in KINDS:
        names = [LABELS[kind][int(label)] for label in asked.labels[kind]]
        silent = [not said(kind, name, text) for name, text in zip(names, captions, strict=True)]
        right[kind][torch.tensor(silent)] = torch.nan
    return {kind: right[kind] for kind in KINDS}


def draw(pipeline: Any, captions: Sequence[str], seed: int) -> Tensor:
    """[caption, 3, 64, 64] samples in -1..1 with the shipped guidance and steps."""
    states = text_states(pipeline.text_encoder, pipeline.tokenizer, ["", *captions], "cpu").float()
    pieces = enumerate(states[1:].split(16))
    return torch.cat(
        [sample(pipeline.unet, pipeline.vae, one, states[:1], seed=seed + i) for i, one in pieces]
    )


def sample_figures(judge: Judge, images: Tensor, asked: Material, captions: Sequence[str]) -> list[Figure]:
    """What the judge sees in samples of captions; floor: in the sample of another caption, ceiling: in the render."""
    ours, theirs = classified(judge, images), classified(judge, normalised(asked.rgb))
    right, ceiling = held(ours, asked, captions), held(theirs, asked, captions)
    floor = held({kind: logits.roll(1, 0) for kind, logits in ours.items()}, asked, captions)
    return [
        replace(
            figure(f"samples {kind}", right[kind]),
            floor=floor[kind].nanmean().item(),
            ceiling=ceiling[kind].nanmean().item(),
        )
        for kind in KINDS
        if not right[kind].isnan().all()
    ]


def judge_figures(judge: Judge, pairs: Material, crowd: Material) -> list[Figure]:
    """The judge on held-out renders: labels (floor: of another picture's), and each instance of the crowd among all of
    its class by the picture in another place.
    """
    logits = classified(judge, normalised(pairs.rgb))
    right = agreement(logits, pairs)
    chance = agreement({kind: values.roll(1, 0) for kind, values in logits.items()}, pairs)
    out = [
        replace(figure(f"judge {kind}", right[kind]), floor=chance[kind].nanmean().item(), ceiling=1.0)
        for kind in right
    ]
    among = len(crowd) // (2 * len(crowd.labels["noun"].unique()))
    found = own_among_classmates(identities(judge, crowd), crowd)
    return [*out, replace(figure(f"judge instance among {among}", found), floor=1 / among, ceiling=1.0)]


def own_among_classmates(vectors: Tensor, crowd: Material) -> Tensor:
    """[instance]: 1 where, of all the class's second pictures, the nearest to an instance's first is its own; the crowd
    holds its instances' two pictures one after the other.
    """
    first, second, noun = vectors[::2], vectors[1::2], crowd.labels["noun"][::2]
    likeness = (first @ second.T).masked_fill(noun[:, None] != noun[None], -2)
    return (likeness.argmax(1) == torch.arange(len(first))).float()


def speed_figures(pipeline: Any, *, repeats: int = 3) -> list[Figure]:
    """Seconds of the stock pipeline, from prompt to pictures, for one and for eight pictures; torch's present
    threads, after a first call that is not counted.
    """
    out: list[Figure] = []
    pipeline.set_progress_bar_config(disable=True)
    for count in (1, 8):
        seconds: list[float] = []
        for _ in range(repeats + 1):
            start = time.perf_counter()
            pipeline(["a photo of a dog"] * count, num_inference_steps=STEPS, guidance_scale=GUIDANCE)
            seconds.append(time.perf_counter() - start)
        out.append(figure(f"seconds for {count}", torch.tensor(seconds[1:])))
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
    seen = replace(figure("noun's attention inside over outside", ratio), floor=1.0)
    return [figure("ddim inversion psnr dB", psnr), seen]
