"""What the model card says of what reads pictures: the VAE, both CLIPs, DINO, the judge, and the base turned round."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor
from transformers import AutoTokenizer, CLIPModel, CLIPVisionModelWithProjection, ViTModel

from motif.base import Base
from motif.pocket.recipe.clip import blocks, token_ids
from motif.pocket.recipe.dino import nearer_share
from motif.pocket.recipe.judge import Judge, agreement, classified, colours, identities
from motif.pocket.recipe.material import LABELS, Material, normalised
from motif.pocket.recipe.probes import come_back
from motif.pocket.recipe.vae import encode_all
from motif.pocket.world.shards import save_sheet, untiled


@dataclass(frozen=True)
class Figure:
    """One measured number: its mean over `count` independent units, the standard error of that mean, and what
    the measure gives where nothing is right (floor) and where all is (ceiling), if that says something. `part` is the
    card's part that measures it, `measured` the day and the machine.
    """

    name: str
    value: float
    error: float
    count: int
    floor: float | None = None
    ceiling: float | None = None
    part: str = ""
    measured: str = ""

    def __str__(self) -> str:
        return f"{self.name}: {self.value:.3f} ± {self.error:.3f} (n = {self.count})"


def figure(
    name: str, values: Tensor, floor: Tensor | float | None = None, ceiling: Tensor | float | None = None
) -> Figure:
    """Mean and standard error of [n] values, and the means of what is floor and ceiling; NaN is no value, and is not
    counted.
    """
    values = values[~values.isnan()].double()
    error = values.std().item() / math.sqrt(len(values)) if len(values) > 1 else math.nan
    low, high = (one.nanmean().item() if isinstance(one, Tensor) else one for one in (floor, ceiling))
    return Figure(name, values.mean().item(), error, len(values), low, high)


def vae_figures(vae: Any, held_out: Material) -> list[Figure]:
    """PSNR per picture in dB; the mean colour's error, of the picture and of its object, in grey levels. Floor: another
    picture's reconstruction; ceiling: the picture as training gets it from a shard.
    """
    made = torch.cat(
        [vae.decode(piece).sample for piece in encode_all(vae, held_out.rgb, "cpu").split(64)]
    ).clamp(-1, 1)
    three = [errors(images, held_out) for images in (made, made.roll(1, 0), as_stored(held_out.rgb))]
    names = ("vae psnr dB", "vae colour error", "vae colour error inside the object")
    return [figure(name, *values) for name, *values in zip(names, *three, strict=True)]


def errors(made: Tensor, true: Material) -> tuple[Tensor, Tensor, Tensor]:
    """PSNR in dB and mean colour's error in grey levels, of the picture and inside its object, [image] each; made
    [image, 3, 64, 64] in -1..1.
    """
    error, inside = made - normalised(true.rgb), true.mask[:, None].float() / 255
    psnr = -10 * torch.log10(error.square().mean((1, 2, 3)) / 4)
    own = (error * inside).sum((2, 3)) / inside.sum((2, 3)).clamp(min=1)
    return psnr, error.mean((2, 3)).abs().mean(1) * 127.5, own.abs().mean(1) * 127.5


def as_stored(rgb: Tensor) -> Tensor:
    """Pictures [image, 64, 64, 3] uint8 as a shard gives them back, [image, 3, 64, 64] in -1..1."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "sheet.avif"
        save_sheet(list(rgb.numpy()), path)
        with Image.open(path) as sheet:
            tiles = untiled(np.asarray(sheet.convert("RGB")), len(rgb))
    return normalised(torch.from_numpy(tiles.copy()))


def clip_figures(folder: Path, pairs: Material, captions: list[str]) -> list[Figure]:
    """The scoring CLIP: the right full caption among 64."""
    clip = CLIPModel.from_pretrained(folder, dtype=torch.float32).eval()
    ids = token_ids(AutoTokenizer.from_pretrained(folder), captions)
    images = embeddings(clip, pairs)
    texts = clip.text_projection(clip.text_model(input_ids=ids).pooler_output)
    similarity = F.normalize(images, dim=1) @ F.normalize(texts, dim=1).T
    right = [
        (ids[i : i + 64][one.argmax(1)] == ids[i : i + 64]).all(1).float() for i, one in blocks(similarity)
    ]
    return [figure("clip caption among 64", torch.cat(right), 1 / 64, 1.0)]


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
    return figure(name, torch.tensor(shares), 0.5, 1.0)


def instance_figures(folder: Path, judge: Judge, apart: Material, crowd: Material) -> list[Figure]:
    """The same instance nearer than a classmate, by each shipped reader of pictures; and each instance of the crowd
    among all of its class, by the judge.
    """
    clip = CLIPModel.from_pretrained(folder / "clip", dtype=torch.float32).eval()
    side: Any = CLIPVisionModelWithProjection.from_pretrained(folder / "condition-clip", dtype=torch.float32)
    images = normalised(apart.rgb)
    condition = torch.cat([side.eval()(pixel_values=piece).image_embeds for piece in images.split(64)])
    among = len(crowd) // (2 * len(crowd.labels["noun"].unique()))
    found = own_among_classmates(identities(judge, crowd), crowd)
    return [
        nearer("clip instance nearer", embeddings(clip, apart), apart),
        nearer("condition-clip instance nearer", condition, apart),
        nearer("dino instance nearer", dino_features(folder / "dino", images), apart),
        figure(f"judge instance among {among}", found, 1 / among, 1.0),
    ]


def dino_features(folder: Path, images: Tensor) -> Tensor:
    """[image, 3, 64, 64] → [image, width], DINO's CLS token."""
    model = ViTModel.from_pretrained(folder, add_pooling_layer=False, dtype=torch.float32).eval()
    return torch.cat([model(pixel_values=piece).last_hidden_state[:, 0] for piece in images.split(64)])


def judge_figures(judge: Judge, pairs: Material) -> list[Figure]:
    """The judge on held-out renders; floor: its answer to another picture."""
    logits = classified(judge, normalised(pairs.rgb))
    right = agreement(logits, pairs)
    chance = agreement({kind: values.roll(1, 0) for kind, values in logits.items()}, pairs)
    out = [figure(f"judge {kind}", values, chance[kind], 1.0) for kind, values in right.items()]
    two = (colours(pairs) > 0).sum(1) == 2
    return [*out, *by_colours("judge colours", two, right["colours"], chance["colours"], 1.0)]


def by_colours(name: str, two: Tensor, right: Tensor, floor: Tensor, ceiling: Tensor | float) -> list[Figure]:
    """A score of colours for objects of one colour and for those of `two`, each by itself; [picture] all."""

    def among(rows: Tensor, values: Tensor | float) -> Tensor | float:
        return values.where(rows, torch.nan) if isinstance(values, Tensor) else values

    return [
        figure(f"{name}, of {which}", right.where(rows, torch.nan), among(rows, floor), among(rows, ceiling))
        for which, rows in (("one", ~two), ("two", two))
        if not right[rows].isnan().all()
    ]


def own_among_classmates(vectors: Tensor, crowd: Material) -> Tensor:
    """[instance]: 1 where, of all the class's second pictures, the nearest to an instance's first is its own; the crowd
    holds its instances' two pictures one after the other.
    """
    first, second, noun = vectors[::2], vectors[1::2], crowd.labels["noun"][::2]
    likeness = (first @ second.T).masked_fill(noun[:, None] != noun[None], -2)
    return (likeness.argmax(1) == torch.arange(len(first))).float()


def probe_figures(folder: Path, pairs: Material, captions: list[str], *, count: int = 64) -> list[Figure]:
    """Inversion and attention on held-out photos whose caption names the object's class."""
    nouns = [LABELS["noun"][int(label)] for label in pairs.labels["noun"]]
    rows = [i for i, noun in enumerate(nouns) if noun in captions[i].split()][:count]
    some = pairs.take(torch.tensor(rows))
    back = come_back(
        Base.load(str(folder / "pipeline"), device="cpu"),
        normalised(some.rgb),
        some.mask[:, None].float() / 255,
        [captions[i] for i in rows],
        [nouns[i] for i in rows],
    )
    return [
        figure("ddim inversion psnr dB", back.psnr, back.lowest, back.highest),
        figure("noun's attention inside over outside", back.ratio, back.other, back.mask),
    ]
