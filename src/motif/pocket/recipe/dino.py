"""A ViT that tells instances apart, as DINO's features do: the CLS token of a transformers ViTModel.

Loss: supervised contrastive over views of an instance against classmates (few nouns per batch, so the
negatives are hard), with a weak cue where the object is (noun and colour of patches), which a small ViT needs
to look at the object, not the place.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import ViTConfig, ViTImageProcessorPil, ViTModel

from motif.pocket.recipe.clip import draw_batch
from motif.pocket.recipe.losses import Draw, LabelHeads, instance_loss
from motif.pocket.recipe.material import Material, normalised
from motif.pocket.recipe.speed import autocast
from motif.pocket.recipe.training import Schedule, Stage, started, train_stage


@dataclass(frozen=True)
class DinoSettings:
    """Shape and training of the ViT."""

    schedule: Schedule
    width: int = 192
    layers: int = 4
    heads: int = 4
    patch: int = 8
    nouns: int = 4
    views: int = 2
    label_weight: float = 0.1
    patch_weight: float = 0.5
    jitter: float = 0.08


class Dino(nn.Module):
    """A ViTModel, a projection for the loss, and the heads that only training needs."""

    def __init__(self, settings: DinoSettings) -> None:
        super().__init__()
        config = ViTConfig(
            hidden_size=settings.width,
            num_hidden_layers=settings.layers,
            num_attention_heads=settings.heads,
            intermediate_size=3 * settings.width,
            image_size=64,
            patch_size=settings.patch,
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
        )
        self.model = ViTModel(config, add_pooling_layer=False)
        self.heads = LabelHeads(settings.width, settings.width)

    def read(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """[image, 3, 64, 64] → (CLS [image, width], patches [image, patch, width])."""
        hidden = self.model(pixel_values=images).last_hidden_state
        return hidden[:, 0], hidden[:, 1:]


def vit_processor() -> ViTImageProcessorPil:
    """Any picture → 64 px, values in -1..1."""
    return ViTImageProcessorPil(size={"height": 64, "width": 64}, image_mean=[0.5] * 3, image_std=[0.5] * 3)


def jittered(images: Tensor, amount: float, rng: np.random.Generator) -> Tensor:
    """Brightness and contrast of each picture changed a little (the light of another place)."""
    draws = torch.from_numpy(rng.uniform(-amount, amount, (2, len(images), 1, 1, 1))).to(images)
    return images * (1 + draws[0]) + draws[1]


@torch.no_grad()
def measure_dino(dino: Dino, held_out: Material, device: str, *, count: int = 768) -> dict[str, Any]:
    """The same instance in another picture nearer than another instance of its class; and the label heads."""
    some = held_out.take(torch.arange(min(count, len(held_out))))
    features = torch.cat([dino.read(normalised(piece).to(device))[0] for piece in some.rgb.split(64)])
    share, count = nearer_share(features.cpu(), some)
    labels = {kind: values.to(device) for kind, values in some.labels.items()}
    return {"nearer": round(share, 3), "pairs": count, **dino.heads.accuracy(features, labels)}


def nearer_share(features: Tensor, material: Material) -> tuple[float, int]:
    """(share, number) of triplets (picture, another of its instance in another place, one of another instance of its
    class) with cos(picture, own) > cos(picture, other); features [picture, width].
    """
    instance, noun, place = material.instance, material.labels["noun"], material.labels["context"]
    unit = F.normalize(features.float(), dim=1)
    similarity = unit @ unit.T
    same = instance[:, None] == instance[None]
    own = same & (place[:, None] != place[None])
    other = (noun[:, None] == noun[None]) & ~same
    won = total = 0
    for row in range(len(unit)):
        ahead = similarity[row, own[row]][:, None] > similarity[row, other[row]][None]
        won, total = won + int(ahead.sum()), total + ahead.numel()
    return won / max(1, total), total


def train_dino(
    material: Material,
    held_out: Material,
    folder: Path,
    settings: DinoSettings,
    *,
    device: str = "cpu",
    seed: int = 0,
) -> dict[str, Any]:
    """Trains (or goes on training) the ViT; `folder/dino` holds the EMA weights and the processor."""
    torch.manual_seed(seed)
    dino = Dino(settings)
    started(dino.model, folder / "dino", lambda path: ViTModel.from_pretrained(path, add_pooling_layer=False))
    dino = dino.to(device)
    draw = Draw.of(material, views=settings.views)

    def loss(step: int, rng: np.random.Generator) -> tuple[Tensor, dict[str, float]]:
        batch = draw_batch(
            material, draw.rows(settings.schedule.batch, rng, nouns=settings.nouns), rng, device
        )
        with autocast(device):
            features, patches = dino.read(jittered(batch.images, settings.jitter, rng))
        features = features.float()
        parts = {
            "instance": instance_loss(features, batch.instance),
            "labels": settings.label_weight * dino.heads.picture_loss(features, batch.labels),
            "patches": settings.patch_weight * dino.heads.patch_loss(patches.float(), batch),
        }
        return torch.stack(list(parts.values())).sum(), {key: value.item() for key, value in parts.items()}

    def show(step: int) -> dict[str, Any]:
        dino.model.save_pretrained(folder / "dino")
        vit_processor().save_pretrained(folder / "dino")
        return measure_dino(dino, held_out, device)

    return train_stage(Stage("dino", dino, loss, show), settings.schedule, folder, seed=seed)
