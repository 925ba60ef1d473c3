"""The conditioning CLIP's image tower, trained on when its text tower has become the UNet's and stands still.

Half of every batch are pictures as they were rendered, with their captions; the other half are close views of the same
objects, with what words can say of the object alone. ELITE looks at objects so: its words come from these features.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import CLIPModel

from motif.errors import InputError
from motif.pocket.recipe.clip import (
    Clip,
    ClipSettings,
    clip_loss,
    hits,
    image_processor,
    measure_clip,
    token_ids,
)
from motif.pocket.recipe.losses import Batch, Draw
from motif.pocket.recipe.material import Material, captions, normalised, views
from motif.pocket.recipe.training import Stage, started, train_stage
from motif.pocket.world.grammar import described

TURN = np.pi / 9
"""A close view is turned by up to so much, to either side."""


def close_views(rgb: Tensor, mask: Tensor, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Views of what the masks show: 1 to 1.6 times its box, a little turned and stretched, some mirrored.

    Takes and gives what `material.views` does; what lies outside of the picture is mirrored in.
    """
    both = torch.cat([normalised(rgb), mask[:, None].float() / 127.5 - 1], 1)
    centre, half = _boxes(mask)

    def drawn(low: float, high: float, *shape: int) -> Tensor:
        return torch.from_numpy(rng.uniform(low, high, (len(rgb), *shape))).to(both)

    size = half.amax(1, keepdim=True) * drawn(1.0, 1.6, 1) * drawn(0.87, 1.15, 2)
    size = size.clamp(0.1, 1.0)
    centre = centre + (size - half).clamp(min=0) * drawn(-0.5, 0.5, 2)
    angle, mirror = drawn(-TURN, TURN), drawn(-1, 1).sign()
    cos, sin = angle.cos(), angle.sin()
    rows = [
        torch.stack([size[:, 0] * cos * mirror, -size[:, 1] * sin, centre[:, 0]], 1),
        torch.stack([size[:, 0] * sin * mirror, size[:, 1] * cos, centre[:, 1]], 1),
    ]
    lattice = F.affine_grid(torch.stack(rows, 1), list(both.shape), align_corners=False)
    out = F.grid_sample(both, lattice, mode="bilinear", padding_mode="reflection", align_corners=False)
    return out[:, :3], (out[:, 3:] + 1) / 2


def _boxes(mask: Tensor) -> tuple[Tensor, Tensor]:
    """[image, h, w] masks → centres and half sizes of their boxes, [image, (x, y)] in -1..1; no mask is all."""
    inside = mask > 127
    inside = inside | ~inside.flatten(1).any(1)[:, None, None]
    bounds: list[tuple[Tensor, Tensor]] = []
    for along in (1, 2):
        line = inside.any(along).float()
        count = line.shape[1]
        first, last = line.argmax(1), count - 1 - line.flip(1).argmax(1)
        bounds.append((2 * first / count - 1, 2 * (last + 1) / count - 1))
    low, high = (torch.stack([one[side] for one in bounds], 1) for side in (0, 1))
    return (low + high) / 2, (high - low) / 2


def close_caption(scene: Any) -> str:
    """What a close view shows, in words."""
    words = described(scene.instance)
    return f"a photo of {'an' if words[0] in 'aeio' else 'a'} {words}"


def train_image_tower(
    material: Material,
    held_out: Material,
    tokenizer: Any,
    whole: Path,
    folder: Path,
    settings: ClipSettings,
    *,
    device: str = "cpu",
    seed: int = 0,
) -> dict[str, Any]:
    """Goes on training the image tower of the CLIP in `whole`; `folder/clip` holds the CLIP with it (EMA).

    Raises InputError where `folder` belongs to another text tower.
    """
    torch.manual_seed(seed)
    clip = Clip(settings, tokenizer)
    started(clip.model, whole, CLIPModel.from_pretrained)
    spoken = {name: value.clone() for name, value in clip.model.text_model.state_dict().items()}
    started(clip.model, folder / "clip", CLIPModel.from_pretrained)
    if any(
        not torch.equal(clip.model.text_model.state_dict()[name], value) for name, value in spoken.items()
    ):
        raise InputError(f"{folder} was trained beside another text tower: remove it")
    clip.model.text_model.requires_grad_(False)
    clip = clip.to(device)
    each = settings.captions
    full = [text for some in captions(material, each, seed=seed) for text in some]
    ids = token_ids(tokenizer, [*full, *map(close_caption, material.scenes)])
    ids = ids[:, : int((ids != tokenizer.eos_token_id).sum(1).max()) + 1]
    far_ids, near_ids = ids[: len(full)].unflatten(0, (-1, each)), ids[len(full) :]
    draw, rgb, mask = Draw.of(material), material.rgb.to(device), material.mask.to(device)

    def loss(step: int, rng: np.random.Generator) -> tuple[Tensor, dict[str, float]]:
        rows = draw.rows(settings.schedule.batch, rng)
        far, near = rows[::2], rows[1::2]  # of the same instances
        whole_views, whole_masks = views(rgb[far], mask[far], rng)
        near_views, near_masks = close_views(rgb[near], mask[near], rng)
        rows = torch.cat([far, near])
        batch = Batch(
            rows,
            torch.cat([whole_views, near_views]),
            torch.cat([whole_masks, near_masks]),
            {kind: values[rows].to(device) for kind, values in material.labels.items()},
            material.instance[rows].to(device),
        )
        texts = [far_ids[far, torch.from_numpy(rng.integers(0, each, len(far)))], near_ids[near]]
        return clip_loss(clip, settings, batch, torch.cat(texts).to(device), device, blocks=2)

    def show(step: int) -> dict[str, Any]:
        clip.model.save_pretrained(folder / "clip")
        tokenizer.save_pretrained(folder / "clip")
        image_processor().save_pretrained(folder / "clip")
        return {
            **measure_clip(clip, held_out, tokenizer, device),
            **measure_close(clip, held_out, tokenizer, device),
        }

    return train_stage(Stage("condition-image", clip, loss, show), settings.schedule, folder, seed=seed)


@torch.no_grad()
def measure_close(
    clip: Clip, held_out: Material, tokenizer: Any, device: str, *, count: int = 512
) -> dict[str, Any]:
    """Of close views of held-out objects: the label heads' noun and colour, and the right words among 64."""
    some = held_out.take(torch.arange(min(count, len(held_out))))
    shown = close_views(some.rgb, some.mask, np.random.default_rng(0))[0]
    images = torch.cat([clip.read_images(piece.to(device))[0] for piece in shown.split(64)])
    ids = token_ids(tokenizer, list(map(close_caption, some.scenes))).to(device)
    texts = torch.cat([clip.read_texts(piece) for piece in ids.split(64)])
    similarity = F.normalize(images, dim=1) @ F.normalize(texts, dim=1).T
    starts = range(0, max(1, len(ids) - 63), 64)
    right = [hits(similarity[i : i + 64, i : i + 64], ids[i : i + 64]) for i in starts]
    heads = clip.heads.accuracy(images, {kind: values.to(device) for kind, values in some.labels.items()})
    return {
        "close_noun": heads["noun"],
        "close_colour": heads["colour"],
        "close_words_among_64": round(float(np.mean(right)), 3),
    }
