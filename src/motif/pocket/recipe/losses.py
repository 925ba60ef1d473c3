"""Losses that the encoders share: contrastive, supervised contrastive over instances, labels of the picture
and of its patches.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from motif.pocket.recipe.material import LABELS, Material


@dataclass(frozen=True)
class Batch:
    """One batch of views: rows of the material, pictures [image, 3, h, w] in -1..1, object masks [image, 1,
    h, w] in 0..1.
    """

    rows: Tensor
    images: Tensor
    masks: Tensor
    labels: Mapping[str, Tensor]
    instance: Tensor


class LabelHeads(nn.Module):
    """Linear readers of the picture's labels, and of noun and colour patch by patch; only used while
    training.
    """

    def __init__(self, width: int, patch_width: int) -> None:
        super().__init__()
        self.picture_head = nn.ModuleDict(
            {kind: nn.Linear(width, len(names)) for kind, names in LABELS.items()}
        )
        self.patch_head = nn.ModuleDict(
            {kind: nn.Linear(patch_width, len(LABELS[kind]) + 1) for kind in ("noun", "colour")}
        )

    def picture_loss(self, features: Tensor, labels: Mapping[str, Tensor]) -> Tensor:
        """Σ over kinds of the cross-entropy of features [image, width]."""
        return torch.stack(
            [
                F.cross_entropy(head(features), labels[kind], label_smoothing=0.05)
                for kind, head in self.picture_head.items()
            ]
        ).sum()

    def patch_loss(self, patches: Tensor, batch: Batch) -> Tensor:
        """Cross-entropy of patches [image, patch, width] against the object's noun and colour inside the
        mask, 'nothing' outside.

        Object patches weigh as much in all as the others do.
        """
        side = int(patches.shape[1] ** 0.5)
        covered = (F.adaptive_avg_pool2d(batch.masks, side) > 0.35).flatten(1)  # [image, patch]
        share = covered.float().mean().clamp(0.05, 0.95)
        weight = torch.where(covered, 0.5 / share, 0.5 / (1 - share))
        total = patches.new_zeros(())
        for kind, head in self.patch_head.items():
            nothing = len(LABELS[kind])
            target = torch.where(covered, batch.labels[kind][:, None], nothing)
            entropy = F.cross_entropy(head(patches).flatten(0, 1), target.flatten(), reduction="none")
            total = total + (entropy * weight.flatten()).mean()
        return total

    @torch.no_grad()
    def accuracy(self, features: Tensor, labels: Mapping[str, Tensor]) -> dict[str, float]:
        """Share of right answers per kind of label."""
        return {
            kind: round((head(features).argmax(1) == labels[kind]).float().mean().item(), 3)
            for kind, head in self.picture_head.items()
        }


def matching_loss(images: Tensor, texts: Tensor, scale: Tensor, key: Tensor) -> Tensor:
    """CLIP's symmetric cross-entropy over cosine similarities; rows with an equal `key` (the same caption)
    share the target.
    """
    similarity = scale * F.normalize(images, dim=1) @ F.normalize(texts, dim=1).T
    same = (key[:, None] == key[None]).float()
    target = same / same.sum(1, keepdim=True)
    return -0.5 * (
        (target * similarity.log_softmax(1)).sum(1).mean()
        + (target * similarity.log_softmax(0)).sum(0).mean()
    )


def instance_loss(features: Tensor, instance: Tensor, *, temperature: float = 0.1) -> Tensor:
    """Supervised contrastive loss (Khosla et al. 2020, L_out): other views of the instance among all other
    pictures of the batch.
    """
    unit = F.normalize(features, dim=1)
    logits = unit @ unit.T / temperature
    itself = torch.eye(len(unit), dtype=torch.bool, device=unit.device)
    logits = logits.masked_fill(itself, -1e4)
    positive = ((instance[:, None] == instance[None]) & ~itself).float()
    return -((positive * logits.log_softmax(1)).sum(1) / positive.sum(1).clamp(min=1)).mean()


@dataclass(frozen=True)
class Draw:
    """Draws batches of instances, `views` pictures of each, `nouns` classes at a time (0: any), so that
    classmates are the negatives.
    """

    material: Material
    by_noun: tuple[tuple[Tensor, ...], ...]
    views: int = 2

    @classmethod
    def of(cls, material: Material, *, views: int = 2) -> Draw:
        """Indexes the material; instances with fewer pictures than `views` are left out."""
        order = torch.argsort(material.instance, stable=True)
        groups = torch.split(order, torch.bincount(material.instance).tolist())
        table: list[list[Tensor]] = [[] for _ in LABELS["noun"]]
        for group in groups:
            if len(group) >= views:
                table[int(material.labels["noun"][group[0]])].append(group)
        return cls(material, tuple(tuple(groups) for groups in table), views)

    def rows(self, count: int, rng: np.random.Generator, *, nouns: int = 0) -> Tensor:
        """`count` rows, consecutive runs of `views` being one instance."""
        filled = [groups for groups in self.by_noun if groups]
        if nouns:
            filled = [filled[int(i)] for i in rng.choice(len(filled), min(nouns, len(filled)), replace=False)]
        pool = [group for groups in filled for group in groups]
        picked = rng.choice(len(pool), min(count // self.views, len(pool)), replace=False)
        return torch.cat(
            [
                pool[int(i)][torch.from_numpy(rng.choice(len(pool[int(i)]), self.views, replace=False))]
                for i in picked
            ]
        )
