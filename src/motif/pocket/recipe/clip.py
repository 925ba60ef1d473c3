"""The two CLIPs: the one whose text tower conditions pocket's UNet, and an independent one that scores.

Both learn from captions (contrastive), from the world's labels (picture and patches) and from instances (two
views of one object).
They share nothing but the tokenizer: other seed, width and depth, so that the scoring CLIP does not grade
itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import CLIPConfig, CLIPImageProcessorPil, CLIPModel

from motif.pocket.recipe.losses import Batch, Draw, LabelHeads, instance_loss, matching_loss
from motif.pocket.recipe.material import Material, captions, normalised, views
from motif.pocket.recipe.speed import autocast
from motif.pocket.recipe.training import Schedule, Stage, started, train_stage


@dataclass(frozen=True)
class ClipSettings:
    """Shape and training of a CLIP; the weights of the losses beside the contrastive one."""

    schedule: Schedule
    text_width: int = 256
    text_layers: int = 4
    text_heads: int = 4
    image_width: int = 192
    image_layers: int = 4
    image_heads: int = 4
    patch: int = 8
    projection: int = 192
    captions: int = 4
    label_weight: float = 0.3
    patch_weight: float = 0.5
    instance_weight: float = 0.4
    largest_scale: float = 60.0


class Clip(nn.Module):
    """A CLIPModel with the heads that only training needs."""

    def __init__(self, settings: ClipSettings, tokenizer: Any) -> None:
        super().__init__()
        self.model = CLIPModel(clip_config(settings, tokenizer))
        self.heads = LabelHeads(settings.projection, settings.image_width)
        self.instance_head = nn.Linear(settings.projection, 128)

    def read_images(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """[image, 3, 64, 64] → (embedding [image, projection], patches [image, patch, width])."""
        out = self.model.vision_model(pixel_values=images)
        return self.model.visual_projection(out.pooler_output), out.last_hidden_state[:, 1:]

    def read_texts(self, ids: Tensor) -> Tensor:
        """[text, token] → [text, projection]."""
        return self.model.text_projection(self.model.text_model(input_ids=ids).pooler_output)


def clip_config(settings: ClipSettings, tokenizer: Any) -> CLIPConfig:
    """CLIP's configuration; special ids are given, else transformers falls back to the highest id as the
    text's end.
    """
    text = {
        "vocab_size": len(tokenizer),
        "hidden_size": settings.text_width,
        "intermediate_size": 3 * settings.text_width,
        "num_hidden_layers": settings.text_layers,
        "num_attention_heads": settings.text_heads,
        "max_position_embeddings": tokenizer.model_max_length,
        "projection_dim": settings.projection,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    image = {
        "hidden_size": settings.image_width,
        "intermediate_size": 3 * settings.image_width,
        "num_hidden_layers": settings.image_layers,
        "num_attention_heads": settings.image_heads,
        "image_size": 64,
        "patch_size": settings.patch,
        "projection_dim": settings.projection,
    }
    return CLIPConfig(text_config=text, vision_config=image, projection_dim=settings.projection)


def image_processor() -> CLIPImageProcessorPil:
    """Any picture → 64 px, values in -1..1."""
    return CLIPImageProcessorPil(
        size={"shortest_edge": 64},
        crop_size={"height": 64, "width": 64},
        image_mean=[0.5] * 3,
        image_std=[0.5] * 3,
    )


def token_ids(tokenizer: Any, texts: list[str]) -> Tensor:
    """[text, 32] ids, padded and cut to the tokenizer's length."""
    return tokenizer(texts, padding="max_length", truncation=True, return_tensors="pt").input_ids


def caption_ids(material: Material, each: int, tokenizer: Any, *, seed: int) -> Tensor:
    """[picture, caption, 32] ids of `each` captions per picture, cut after the longest one's end."""
    texts = [text for some in captions(material, each, seed=seed) for text in some]
    ids = token_ids(tokenizer, texts)
    longest = int((ids != tokenizer.eos_token_id).sum(1).max()) + 1
    return ids[:, :longest].reshape(len(material), each, longest)


def draw_batch(material: Material, rows: Tensor, rng: np.random.Generator, device: str) -> Batch:
    """Random views of these rows, on the device."""
    images, masks = views(material.rgb[rows].to(device), material.mask[rows].to(device), rng)
    labels = {kind: values[rows].to(device) for kind, values in material.labels.items()}
    return Batch(rows, images, masks, labels, material.instance[rows].to(device))


@torch.no_grad()
def measure_clip(
    clip: Clip, held_out: Material, tokenizer: Any, device: str, *, count: int = 512
) -> dict[str, Any]:
    """On held-out pictures: the right caption among 64, the label heads, the same instance nearest among
    all.
    """
    some = held_out.take(torch.arange(min(count, len(held_out))))
    ids = caption_ids(some, 1, tokenizer, seed=99)[:, 0].to(device)
    images = torch.cat([clip.read_images(normalised(piece).to(device))[0] for piece in some.rgb.split(64)])
    texts = torch.cat([clip.read_texts(piece) for piece in ids.split(64)])
    similarity = F.normalize(images, dim=1) @ F.normalize(texts, dim=1).T
    right = [hits(block, ids[i : i + 64]) for i, block in blocks(similarity)]
    unit = F.normalize(clip.instance_head(images), dim=1)
    nearest = (unit @ unit.T).fill_diagonal_(-2).argmax(1).cpu()
    return {
        "caption_among_64": round(float(np.mean(right)), 3),
        "instance_nearest": round((some.instance == some.instance[nearest]).float().mean().item(), 3),
        **clip.heads.accuracy(images, {kind: values.to(device) for kind, values in some.labels.items()}),
    }


def blocks(similarity: Tensor) -> list[tuple[int, Tensor]]:
    """Diagonal blocks of 64 (the last, smaller one left out unless it is the only one), each with its
    offset.
    """
    starts = range(0, max(1, len(similarity) - 63), 64)
    return [(i, similarity[i : i + 64, i : i + 64]) for i in starts]


def hits(block: Tensor, ids: Tensor) -> float:
    """Share of rows whose best column carries the row's own caption."""
    best = block.argmax(1)
    return (ids[best] == ids).all(1).float().mean().item()


def clip_loss(
    clip: Clip, settings: ClipSettings, batch: Batch, texts: Tensor, device: str, *, blocks: int = 1
) -> tuple[Tensor, dict[str, float]]:
    """The sum of the contrastive loss and the weighted others, and each of them; texts [image, token] ids. Pictures are
    matched with the captions of their own block, so many equal ones a batch.
    """
    with autocast(device):
        embedding, patches = clip.read_images(batch.images)
        described = clip.read_texts(texts)
    embedding = embedding.float()
    key = torch.unique(texts, dim=0, return_inverse=True)[1]
    scale = clip.model.logit_scale.exp().clamp(max=settings.largest_scale)
    instance = instance_loss(clip.instance_head(embedding), batch.instance)
    chunks = (part.chunk(blocks) for part in (embedding, described.float(), key))
    matched = [
        matching_loss(images, words, scale, which) for images, words, which in zip(*chunks, strict=True)
    ]
    parts = {
        "matching": torch.stack(matched).mean(),
        "labels": settings.label_weight * clip.heads.picture_loss(embedding, batch.labels),
        "patches": settings.patch_weight * clip.heads.patch_loss(patches.float(), batch),
        "instance": settings.instance_weight * instance,
    }
    return torch.stack(list(parts.values())).sum(), {name: value.item() for name, value in parts.items()}


def train_clip(
    name: str,
    material: Material,
    held_out: Material,
    tokenizer: Any,
    folder: Path,
    settings: ClipSettings,
    *,
    device: str = "cpu",
    seed: int = 0,
) -> dict[str, Any]:
    """Trains (or goes on training) a CLIP; `folder/clip` holds the EMA weights with tokenizer and processor."""
    torch.manual_seed(seed)
    clip = Clip(settings, tokenizer)
    started(clip.model, folder / "clip", CLIPModel.from_pretrained)
    clip = clip.to(device)
    ids = caption_ids(material, settings.captions, tokenizer, seed=seed)
    draw = Draw.of(material)

    def loss(step: int, rng: np.random.Generator) -> tuple[Tensor, dict[str, float]]:
        rows = draw.rows(settings.schedule.batch, rng)
        texts = ids[rows, torch.from_numpy(rng.integers(0, settings.captions, len(rows)))]
        return clip_loss(clip, settings, draw_batch(material, rows, rng, device), texts.to(device), device)

    def show(step: int) -> dict[str, Any]:
        clip.model.save_pretrained(folder / "clip")
        tokenizer.save_pretrained(folder / "clip")
        image_processor().save_pretrained(folder / "clip")
        return measure_clip(clip, held_out, tokenizer, device)

    return train_stage(Stage(name, clip, loss, show), settings.schedule, folder, seed=seed)
