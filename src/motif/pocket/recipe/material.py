"""The training material: rendered pictures in memory with their labels, instances and captions, split by
instance.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from motif.errors import InputError
from motif.files import written
from motif.pocket.world import grammar, scene
from motif.pocket.world.shards import Pictures, is_held_out, read_shards

NONE = "none"
LABELS: dict[str, tuple[str, ...]] = {
    "noun": scene.NOUNS,
    "context": scene.CONTEXTS,
    "colour": scene.COLOURS,
    "pattern": scene.PATTERNS,
    "accessory": (*scene.ACCESSORIES, NONE),
    "style": scene.STYLES,
}


@dataclass(frozen=True)
class Material:
    """Pictures of many instances.

    rgb: [n, 64, 64, 3] uint8; mask: [n, 64, 64] uint8 (255 inside the object);
    labels: per kind of `LABELS` [n] int64; instance: [n] int64, equal for pictures of one instance;
    scenes: what was drawn (captions are composed from it at training time).
    """

    rgb: Tensor
    mask: Tensor
    labels: dict[str, Tensor]
    instance: Tensor
    scenes: Sequence[Any]

    def __len__(self) -> int:
        return len(self.rgb)

    def take(self, rows: Tensor) -> Material:
        """The material of these rows only, in this order."""
        labels = {kind: values[rows] for kind, values in self.labels.items()}
        chosen = [self.scenes[int(row)] for row in rows]
        return Material(self.rgb[rows], self.mask[rows], labels, self.instance[rows], chosen)


def material_from(pictures: Pictures) -> Material:
    """Pictures as the world renders them → `Material`. Raises ValueError for a label that the world does not
    list.
    """
    values = [grammar.labels(one) for one in pictures.scenes]
    labels = {
        kind: torch.tensor([names.index(value[kind] or NONE) for value in values])
        for kind, names in LABELS.items()
    }
    number = {name: i for i, name in enumerate(dict.fromkeys(pictures.instances))}
    instance = torch.tensor([number[name] for name in pictures.instances])
    rgb, mask = (
        torch.from_numpy(np.ascontiguousarray(pictures.rgb)),
        torch.from_numpy(np.ascontiguousarray(pictures.mask)),
    )
    return Material(rgb, mask, labels, instance, pictures.scenes)


def load_material(shards: Path, *, limit: int | None = None) -> tuple[Material, Material]:
    """(training, held out) from a folder of shards; no instance is in both. InputError where one of them has none."""
    pictures = read_shards(shards, limit=limit)
    material = material_from(pictures)
    held_out = torch.tensor([is_held_out(name) for name in pictures.instances])
    if held_out.all() or not held_out.any():
        which = "held out" if held_out.all() else "to learn from"
        raise InputError(
            f"{shards}: all of its {len(held_out)} pictures are {which}, and some of both are needed: render more "
            "(motif pocket render --count 600 or so)"
        )
    return material.take((~held_out).nonzero().flatten()), material.take(held_out.nonzero().flatten())


def normalised(rgb: Tensor) -> Tensor:
    """[..., h, w, 3] uint8 → [..., 3, h, w] float in -1..1."""
    return rgb.movedim(-1, -3).float() / 127.5 - 1


def as_bytes(images: Tensor) -> np.ndarray:
    """[image, 3, h, w] in -1..1 → [image, h, w, 3] uint8."""
    return ((images.float().clamp(-1, 1) + 1) * 127.5).round().byte().movedim(1, -1).cpu().numpy()


def views(
    rgb: Tensor, mask: Tensor, rng: np.random.Generator, *, smallest: float = 0.75
) -> tuple[Tensor, Tensor]:
    """Random views of pictures: a square crop (side between `smallest` and 1 of the whole) enlarged again,
    some mirrored.

    rgb [image, 64, 64, 3] uint8, mask [image, 64, 64] uint8 → images [image, 3, 64, 64] in -1..1, masks
    [image, 1, 64, 64] in 0..1.
    """
    both = torch.cat([normalised(rgb), mask[:, None].float() / 127.5 - 1], 1)
    scale = torch.from_numpy(rng.uniform(smallest, 1.0, len(rgb))).to(both)
    room = (1 - scale)[:, None] * torch.from_numpy(rng.uniform(-1, 1, (len(rgb), 2))).to(both)
    mirror = torch.from_numpy(rng.choice([-1.0, 1.0], len(rgb))).to(both)
    zero = torch.zeros_like(scale)
    rows = [torch.stack([scale * mirror, zero, room[:, 0]], 1), torch.stack([zero, scale, room[:, 1]], 1)]
    lattice = torch.nn.functional.affine_grid(torch.stack(rows, 1), list(both.shape), align_corners=False)
    out = torch.nn.functional.grid_sample(
        both, lattice, mode="bilinear", padding_mode="reflection", align_corners=False
    )
    return out[:, :3], (out[:, 3:] + 1) / 2


def captions(material: Material, each: int, *, seed: int, rare: float = 0.06) -> list[list[str]]:
    """`each` captions per picture, drawn by the world's grammar from a stream of the seed."""
    rng = np.random.default_rng((seed, 77))
    return [[grammar.caption(one, rng, rare=rare) for _ in range(each)] for one in material.scenes]


def write_grid(images: np.ndarray, columns: int, path: Path, *, scale: int = 2) -> None:
    """Writes [image, h, w, 3] uint8 as one PNG of so many columns, enlarged."""
    count, height, width, _ = images.shape
    rows = -(-count // columns)
    sheet = np.full((rows * height, columns * width, 3), 255, np.uint8)
    for i, image in enumerate(images):
        y, x = i // columns * height, i % columns * width
        sheet[y : y + height, x : x + width] = image
    enlarged = Image.fromarray(sheet).resize(
        (columns * width * scale, rows * height * scale), Image.Resampling.BICUBIC
    )
    with written(path) as part:
        enlarged.save(part, "PNG")
