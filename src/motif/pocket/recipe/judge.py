"""The judge: a small convolutional classifier and an identity encoder, for tests and the model card.

It shares nothing with the pipeline: no weights, no tokenizer, no transformer. The classifier reads the whole
picture; the identity encoder reads the picture inside the object's mask only, so that the place cannot speak
for the object.
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

from motif.files import written
from motif.pocket.recipe.clip import draw_batch
from motif.pocket.recipe.losses import Draw, instance_loss
from motif.pocket.recipe.material import LABELS, Material, normalised
from motif.pocket.recipe.speed import autocast
from motif.pocket.recipe.training import Schedule, Stage, started, train_stage

KINDS = ("noun", "context", "colour", "accessory")
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


def trunk(channels: int, widths: tuple[int, ...]) -> nn.Sequential:
    """Stride-2 convolutions, each followed by a residual block: [image, channels, 64, 64] → [image,
    widths[-1], 4, 4] for four widths.
    """
    layers: list[nn.Module] = []
    for before, width in zip((channels, *widths), widths, strict=False):
        layers += [nn.Conv2d(before, width, 4, stride=2, padding=1), Block(width)]
    return nn.Sequential(*layers, nn.GroupNorm(8, widths[-1]), nn.SiLU())


class Judge(nn.Module):
    """`classify` for noun, context, colour, accessory; `find` for the object's mask; `identify` for the
    instance inside a mask.
    """

    def __init__(self, widths: tuple[int, ...], identity: int) -> None:
        super().__init__()
        self.picture = trunk(3, widths)
        self.label_head = nn.ModuleDict(
            {kind: nn.Linear(2 * widths[-1], len(LABELS[kind])) for kind in KINDS}
        )
        self.mask_head = nn.Conv2d(widths[-1], MASK_CELLS**2, 1)
        self.object = trunk(4, widths)
        self.identity_head = nn.Linear(2 * widths[-1], identity)

    def read(self, images: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """[image, 3, 64, 64] → (logits per kind [image, names], mask logits [image, 1, s, s])."""
        cells = self.picture(images)
        logits = {kind: head(pooled(cells)) for kind, head in self.label_head.items()}
        return logits, F.pixel_shuffle(self.mask_head(cells), MASK_CELLS)

    def classify(self, images: Tensor) -> dict[str, Tensor]:
        """Logits per kind of label, [image, names]."""
        return self.read(images)[0]

    def find(self, images: Tensor) -> Tensor:
        """The object's mask [image, 1, 64, 64] in 0..1."""
        return F.interpolate(self.read(images)[1].sigmoid(), size=images.shape[-2:], mode="bilinear")

    def identify(self, images: Tensor, masks: Tensor) -> Tensor:
        """Unit vectors [image, identity] of the objects inside masks [image, 1, 64, 64] in 0..1."""
        cells = self.object(torch.cat([images * masks, masks * 2 - 1], 1))
        return F.normalize(self.identity_head(pooled(cells)), dim=1)


def pooled(cells: Tensor) -> Tensor:
    """[image, width, h, w] → [image, 2 · width]: mean and maximum over the cells."""
    return torch.cat([cells.mean((2, 3)), cells.amax((2, 3))], 1)


@torch.no_grad()
def answers(judge: Judge, images: Tensor) -> dict[str, Tensor]:
    """The judge's choice per kind of label, [image] indices on the CPU; images [image, 3, 64, 64] in -1..1."""
    device = next(judge.parameters()).device
    pieces = [judge.classify(piece.to(device)) for piece in images.split(64)]
    return {kind: torch.cat([piece[kind].argmax(1).cpu() for piece in pieces]) for kind in KINDS}


@torch.no_grad()
def measure_judge(judge: Judge, held_out: Material, device: str, *, count: int = 1024) -> dict[str, Any]:
    """On held-out renders: accuracy per kind; the right instance among its classmates by the nearest other
    picture.
    """
    some = held_out.take(torch.arange(min(count, len(held_out))))
    given = answers(judge, normalised(some.rgb))
    accuracy = {kind: round((given[kind] == some.labels[kind]).float().mean().item(), 3) for kind in KINDS}
    masks = some.mask[:, None].float() / 255
    images = normalised(some.rgb)
    pieces = zip(images.split(64), masks.split(64), strict=True)
    vectors = torch.cat([judge.identify(a.to(device), b.to(device)).cpu() for a, b in pieces])
    classmates = some.labels["noun"][:, None] == some.labels["noun"][None]
    nearest = (vectors @ vectors.T).masked_fill(~classmates, -2).fill_diagonal_(-2).argmax(1)
    return {
        **accuracy,
        "instance_in_class": round((some.instance == some.instance[nearest]).float().mean().item(), 3),
    }


def save_judge(judge: Judge, settings: JudgeSettings, folder: Path) -> None:
    """Writes `judge.safetensors` (float16) and `judge.json` (shape, label names)."""
    weights = {name: value.detach().half().cpu().contiguous() for name, value in judge.state_dict().items()}
    with written(folder / "judge.safetensors") as path:
        save_file(weights, path)
    shape = {key: value for key, value in asdict(settings).items() if key in ("widths", "identity")}
    text = json.dumps({**shape, "labels": {kind: LABELS[kind] for kind in KINDS}}, indent=1)
    with written(folder / "judge.json") as path:
        path.write_text(text + "\n", encoding="utf-8")


def load_judge(folder: Path, device: str = "cpu") -> Judge:
    """The judge that `save_judge` wrote, frozen. Its label order is `judge.json`'s `labels`."""
    shape = json.loads((folder / "judge.json").read_text(encoding="utf-8"))
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
    draw = Draw.of(material)

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
        }
        target = F.adaptive_avg_pool2d(batch.masks, found.shape[-1])
        parts["mask"] = settings.mask_weight * F.binary_cross_entropy_with_logits(found.float(), target)
        parts["identity"] = settings.identity_weight * instance_loss(identity.float(), batch.instance)
        return torch.stack(list(parts.values())).sum(), {key: value.item() for key, value in parts.items()}

    def show(step: int) -> dict[str, Any]:
        save_judge(judge, settings, folder / "judge")
        return measure_judge(judge, held_out, device)

    return train_stage(Stage("judge", judge, loss, show), settings.schedule, folder, seed=seed)
