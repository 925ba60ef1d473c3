"""The judge: a small convolutional classifier and an identity encoder, for tests and the model card.

It shares nothing with the pipeline: no weights, no tokenizer, no transformer. The classifier finds the object,
then reads the whole picture and, finer, what is inside the mask that it found; the identity encoder reads the
picture inside a given mask only, so that the place cannot speak for the object.

A striped or checked object has two colours of about the same area, and its picture does not say which is the
main one: the classifier is taught both, and its first two guesses are held to them. A pencil drawing has no
colour: there is nothing to be right about.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from motif.errors import InputError
from motif.files import written
from motif.pocket.recipe.clip import draw_batch
from motif.pocket.recipe.losses import Draw, instance_loss
from motif.pocket.recipe.material import LABELS, Material, normalised
from motif.pocket.recipe.speed import autocast
from motif.pocket.recipe.training import Schedule, Stage, started, train_stage

KINDS = ("noun", "context", "colour", "accessory")
LAYOUT = 2  # counts up when weights of before cannot be read any more
MASK_CELLS = 4  # each cell of the last map says the mask of 4 x 4 smaller cells


@dataclass(frozen=True)
class JudgeSettings:
    """Shape and training of the judge."""

    schedule: Schedule
    widths: tuple[int, ...] = (32, 64, 128, 192)
    identity: int = 128
    nouns: int = 4
    identity_weight: float = 1.0
    mask_weight: float = 1.0


class Block(nn.Module):
    """Residual: x + conv(silu(norm(conv(silu(norm(x))))))."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.GroupNorm(8, width), nn.SiLU(), nn.Conv2d(width, width, 3, padding=1))
        self.second = nn.Sequential(nn.GroupNorm(8, width), nn.SiLU(), nn.Conv2d(width, width, 3, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        """[image, width, h, w] → the same shape."""
        return x + self.second(self.first(x))


def trunk(channels: int, widths: tuple[int, ...]) -> nn.ModuleList:
    """Stages that halve the side, each a stride-2 convolution and a residual block."""
    return nn.ModuleList(
        nn.Sequential(nn.Conv2d(before, width, 4, stride=2, padding=1), Block(width))
        for before, width in zip((channels, *widths), widths, strict=False)
    )


def passed(stages: nn.ModuleList, x: Tensor) -> list[Tensor]:
    """[image, channels, 64, 64] → what each stage gives: [image, width, 32, 32], then 16, 8, 4."""
    out: list[Tensor] = []
    for stage in stages:
        x = stage(x)
        out.append(x)
    return out


class Reader(nn.Sequential):
    """Names of one kind from the picture's features: one hidden layer."""

    def __init__(self, width: int, names: int) -> None:
        super().__init__(nn.LayerNorm(width), nn.Linear(width, 96), nn.SiLU(), nn.Linear(96, names))


class Judge(nn.Module):
    """`classify` for noun, context, colour, accessory; `find` for the object's mask; `identify` for the
    instance inside a mask.
    """

    def __init__(self, widths: tuple[int, ...], identity: int) -> None:
        super().__init__()
        last, fine = widths[-1], widths[1:3]
        self.picture = trunk(3, widths)
        self.mask_head = nn.Conv2d(last, MASK_CELLS**2, 1)
        self.outline_head = nn.Conv2d(fine[0], 1, 1)
        self.label_head = nn.ModuleDict(
            {kind: Reader(2 * last + sum(fine), len(LABELS[kind])) for kind in KINDS}
        )
        self.object = trunk(4, widths)
        self.identity_head = nn.Linear(2 * last, identity)

    def read(self, images: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """[image, 3, 64, 64] → (logits per kind [image, names], mask logits [image, 1, 16, 16])."""
        _, *fine, last = passed(self.picture, images)
        found = F.pixel_shuffle(self.mask_head(last), MASK_CELLS) + self.outline_head(fine[0])
        inside = found.detach().float().sigmoid()
        features = torch.cat([pooled(last), *(averaged(cells, inside) for cells in fine)], 1)
        return {kind: head(features) for kind, head in self.label_head.items()}, found

    def classify(self, images: Tensor) -> dict[str, Tensor]:
        """Logits per kind of label, [image, names]."""
        return self.read(images)[0]

    def find(self, images: Tensor) -> Tensor:
        """The object's mask [image, 1, 64, 64] in 0..1."""
        return F.interpolate(self.read(images)[1].sigmoid(), size=images.shape[-2:], mode="bilinear")

    def identify(self, images: Tensor, masks: Tensor) -> Tensor:
        """Unit vectors [image, identity] of the objects inside masks [image, 1, 64, 64] in 0..1."""
        cells = passed(self.object, torch.cat([images * masks, masks * 2 - 1], 1))[-1]
        return F.normalize(self.identity_head(pooled(cells)), dim=1)


def pooled(cells: Tensor) -> Tensor:
    """[image, width, h, w] → [image, 2 · width]: mean and maximum over the cells."""
    return torch.cat([cells.mean((2, 3)), cells.amax((2, 3))], 1)


def averaged(cells: Tensor, weight: Tensor) -> Tensor:
    """[image, width, h, w] → [image, width]: the mean weighted by a larger map [image, 1, H, W]."""
    weight = F.adaptive_avg_pool2d(weight, (cells.shape[-2], cells.shape[-1]))
    return (cells * weight).sum((2, 3)) / weight.sum((2, 3)).clamp(min=1e-3)


def colours(material: Material) -> Tensor:
    """[picture, colour], shares of the object's surface: 1 for the main colour, a half each for a striped or
    checked object's two, nothing at all in a pencil drawing.
    """
    share = torch.zeros(len(material), len(LABELS["colour"]))
    for row, scene in zip(share, material.scenes, strict=True):
        if scene.view.style != "pencil":
            two = scene.instance.pattern in ("striped", "checked")
            for paint in (scene.instance.main, scene.instance.contrast if two else scene.instance.main):
                row[LABELS["colour"].index(paint.name)] += 0.5
    return share


@torch.no_grad()
def classified(judge: Judge, images: Tensor) -> dict[str, Tensor]:
    """Logits per kind of label, [image, names] on the CPU; images [image, 3, 64, 64] in -1..1."""
    device = next(judge.parameters()).device
    pieces = [judge.classify(piece.to(device)) for piece in images.split(64)]
    return {kind: torch.cat([piece[kind].float().cpu() for piece in pieces]) for kind in KINDS}


@torch.no_grad()
def found_masks(judge: Judge, images: Tensor) -> Tensor:
    """The masks [image, 1, 64, 64] in 0..1 of the objects that the judge finds, on the CPU."""
    device = next(judge.parameters()).device
    return torch.cat([judge.find(piece.to(device)).float().cpu() for piece in images.split(64)])


def answers(judge: Judge, images: Tensor) -> dict[str, Tensor]:
    """The judge's first guess per kind of label, [image] indices on the CPU."""
    return {kind: logits.argmax(1) for kind, logits in classified(judge, images).items()}


def agreement(logits: dict[str, Tensor], asked: Material) -> dict[str, Tensor]:
    """Per kind of label, [image]: 1 where the judge sees what the material's row says, 0 where not, NaN where
    there is nothing to see. `colour` is the first guess; `colours` wants the first two to be a striped or
    checked object's two colours, in any order.
    """
    right = {kind: (logits[kind].argmax(1) == asked.labels[kind]).float() for kind in KINDS}
    there = colours(asked) > 0
    both = there.gather(1, logits["colour"].topk(2).indices).all(1).float()
    right["colours"] = torch.where(there.sum(1) == 2, both, right["colour"])
    for kind in ("colour", "colours"):
        right[kind][~there.any(1)] = torch.nan
    return right


@torch.no_grad()
def measure_judge(judge: Judge, held_out: Material, device: str, *, count: int = 1024) -> dict[str, Any]:
    """On held-out renders: accuracy per kind; the right instance among the others of its class that are there."""
    some = held_out.take(torch.arange(min(count, len(held_out))))
    right = agreement(classified(judge, normalised(some.rgb)), some)
    found = nearest_is_own(identities(judge, some), some)
    return {
        **{kind: round(values.nanmean().item(), 3) for kind, values in right.items()},
        "instance_in_class": round(found.mean().item(), 3),
    }


@torch.no_grad()
def identities(judge: Judge, material: Material) -> Tensor:
    """[picture, identity] unit vectors, read inside the pictures' own masks."""
    device = next(judge.parameters()).device
    images, masks = normalised(material.rgb), material.mask[:, None].float() / 255
    pieces = zip(images.split(64), masks.split(64), strict=True)
    return torch.cat([judge.identify(a.to(device), b.to(device)).cpu() for a, b in pieces])


def nearest_is_own(vectors: Tensor, material: Material) -> Tensor:
    """[picture]: 1 where the nearest other picture of the class shows the same instance."""
    classmates = material.labels["noun"][:, None] == material.labels["noun"][None]
    nearest = (vectors @ vectors.T).masked_fill(~classmates, -2).fill_diagonal_(-2).argmax(1)
    return (material.instance == material.instance[nearest]).float()


def save_judge(judge: Judge, settings: JudgeSettings, folder: Path) -> None:
    """Writes `judge.safetensors` (float16) and `judge.json` (shape, label names)."""
    weights = {name: value.detach().half().cpu().contiguous() for name, value in judge.state_dict().items()}
    with written(folder / "judge.safetensors") as path:
        save_file(weights, path)
    shape = {key: value for key, value in asdict(settings).items() if key in ("widths", "identity")}
    labels = {kind: LABELS[kind] for kind in KINDS}
    text = json.dumps({"layout": LAYOUT, **shape, "labels": labels}, indent=1)
    with written(folder / "judge.json") as path:
        path.write_text(text + "\n", encoding="utf-8")


def load_judge(folder: Path, device: str = "cpu") -> Judge:
    """The judge that `save_judge` wrote, frozen. Its label order is `judge.json`'s `labels`. Raises InputError
    for a judge of another layout or of other labels.
    """
    shape = json.loads((folder / "judge.json").read_text(encoding="utf-8"))
    labels = {kind: list(LABELS[kind]) for kind in KINDS}
    if shape.get("layout") != LAYOUT or shape["labels"] != labels:
        raise InputError(
            f"{folder} holds a judge of another layout or other labels: motif pocket train --stages judge makes one"
        )
    judge = Judge(tuple(shape["widths"]), shape["identity"])
    judge.load_state_dict(
        {name: value.float() for name, value in load_file(folder / "judge.safetensors").items()}
    )
    return judge.to(device).eval().requires_grad_(False)


def train_judge(
    material: Material,
    held_out: Material,
    folder: Path,
    settings: JudgeSettings,
    *,
    device: str = "cpu",
    seed: int = 0,
) -> dict[str, Any]:
    """Trains (or goes on training) the judge; `folder/judge` holds the EMA weights."""
    torch.manual_seed(seed)
    judge = started(Judge(settings.widths, settings.identity), folder / "judge", load_judge).to(device)
    draw, shares = Draw.of(material), colours(material).to(device)

    def loss(step: int, rng: np.random.Generator) -> tuple[Tensor, dict[str, float]]:
        batch = draw_batch(
            material,
            draw.rows(settings.schedule.batch, rng, nouns=settings.nouns if step % 2 else 0),
            rng,
            device,
        )
        with autocast(device):
            logits, found = judge.read(batch.images)
            identity = judge.identify(batch.images, batch.masks)
        parts = {
            kind: F.cross_entropy(value.float(), batch.labels[kind], label_smoothing=0.05)
            for kind, value in logits.items()
            if kind != "colour"
        }
        share = shares[batch.rows]
        surprise = -(share * logits["colour"].float().log_softmax(1)).sum(1)
        parts["colour"] = surprise.sum() / share.sum().clamp(min=1)
        target = F.adaptive_avg_pool2d(batch.masks, found.shape[-1])
        parts["mask"] = settings.mask_weight * F.binary_cross_entropy_with_logits(found.float(), target)
        parts["identity"] = settings.identity_weight * instance_loss(identity.float(), batch.instance)
        return torch.stack(list(parts.values())).sum(), {key: value.item() for key, value in parts.items()}

    def show(step: int) -> dict[str, Any]:
        save_judge(judge, settings, folder / "judge")
        return measure_judge(judge, held_out, device)

    return train_stage(Stage("judge", judge, loss, show), settings.schedule, folder, seed=seed)
