"""How a step of ELITE's training sees one object: a target for the denoiser, and views for the image encoder.

Card 2.7 (global): the crop with up to 10 px around it; its view is mirrored, turned, blurred and sheared by chance,
the target never, so that a word does not say the pose. Card 3.7 (local): the crop with 10 to 19 px; the target is
shrunk or zoomed as in Custom Diffusion, and the caption says so; the object's view is cropped, turned and moved.
Pixels are of 512, and follow the picture. Ours: a caption's own article gives way to the prefix (the release cuts its
first letter), and a view that moved the object out of sight is taken as it was. The global stage draws a
subject with a caption of its own in its whole picture, which is what the caption tells of; the word does not have to
say the place then. The local stage always draws the crop: of a small whole picture, the details of an object are too
small a part of the loss to be learned.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image, ImageFilter, ImageOps
from torch import Tensor

from motif.elite.subjects import Subject
from motif.elite.tower import around, cut_out, marked, whole
from motif.learn.augment import Placement, Resizing, place, valid
from motif.sample.elite import TEMPLATES

RESIZING = Resizing(
    flip=0.0, plain=("a",), zoomed=("zoomed in", "close up"), small=("a far away", "a very small")
)
BICUBIC, BILINEAR, NEAREST = Image.Resampling.BICUBIC, Image.Resampling.BILINEAR, Image.Resampling.NEAREST


@dataclass(frozen=True)
class View:
    """What one step sees of one object."""

    target: Tensor  # [3, side, side] in [-1, 1]
    cells: Tensor  # [h, w], the latent cells that count
    picture: Tensor  # [3, side, side] in [0, 1], for the word
    caption: str  # with {} for the word
    words: str = ""  # for the object, where they are known
    kept: str = ""  # names a target that is the same whenever it is seen
    object: Tensor | None = None  # the same, black outside of the mask
    mask: Tensor | None = None  # [patch]


def global_view(
    subject: Subject,
    side: int,
    factor: int,
    tower_side: int,
    rng: np.random.Generator,
    *,
    augment: bool = True,
) -> View:
    """The global stage's."""
    image, _, box = subject.seen()
    crop = image.crop(around(image, box, int(rng.integers(0, _scaled(10, image) + 1))))
    target = (image if subject.caption else crop).resize((side, side), BICUBIC)
    caption = subject.caption or TEMPLATES[int(rng.integers(len(TEMPLATES)))]
    seen = _varied(crop.resize((tower_side, tower_side), BILINEAR), rng) if augment else crop
    cells = torch.ones(side // factor, side // factor)
    return View(_signed(target), cells, whole(seen, tower_side), caption, subject.words, _kept(subject))


def local_view(
    subject: Subject,
    side: int,
    factor: int,
    tower_side: int,
    patches: int,
    rng: np.random.Generator,
    *,
    augment: bool = True,
) -> View:
    """The local stage's; the subject has a mask."""
    image, mask, box = subject.seen()
    assert mask is not None
    box = around(image, box, int(rng.integers(_scaled(10, image), _scaled(19, image) + 1)))
    crop, own = image.crop(box), mask.crop(box)
    template = TEMPLATES[int(rng.integers(len(TEMPLATES)))]
    placement = RESIZING.draw(side, rng) if augment else RESIZING.whole(side, rng)
    seen, shown = (
        cut_out(crop, own).resize((tower_side, tower_side), BICUBIC),
        own.resize((tower_side, tower_side), NEAREST),
    )
    if augment:
        seen, shown = _moved(seen, shown, rng)
    return View(
        _placed(crop, placement, side),
        torch.as_tensor(valid(placement, side, factor)),
        whole(crop, tower_side),
        prefixed(placement.prefix, template),
        subject.words,
        "",
        whole(seen, tower_side),
        marked(shown, patches),
    )


def prefixed(prefix: str, caption: str) -> str:
    """The prefix in the place of the caption's article."""
    article, _, rest = caption.partition(" ")
    if article.lower() not in ("a", "an", "the"):
        return caption if prefix == "a" else f"{prefix} {caption}"
    return caption if prefix == "a" else f"{prefix} {rest}"


def _kept(subject: Subject) -> str:
    return subject.name if subject.caption else ""


def _placed(crop: Image.Image, placement: Placement, side: int) -> Tensor:
    return torch.as_tensor(place(crop, placement, side)).permute(2, 0, 1).float()


def _signed(image: Image.Image) -> Tensor:
    return torch.as_tensor(np.asarray(image, dtype=np.float32) / 127.5 - 1).permute(2, 0, 1)


def _scaled(pixels: int, image: Image.Image) -> int:
    return max(round(pixels * max(image.size) / 512), 1)


def _varied(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Mirrored (1/2), turned by up to 20 degrees (1/2), blurred (0.3), and sheared (0.3; the affine
    part of the release's elastic transform, which is most of it)."""
    side = image.width
    chances = rng.random(4) < (0.5, 0.5, 0.3, 0.3)
    angle, radius, shifts = rng.uniform(-20, 20), rng.uniform(1, 3), rng.uniform(-50, 50, 6) * side / 224
    if chances[0]:
        image = ImageOps.mirror(image)
    if chances[1]:
        image = _reflected(image).rotate(angle, BILINEAR).crop((side, side, 2 * side, 2 * side))
    if chances[2]:
        image = image.filter(ImageFilter.BoxBlur(radius * side / 224))
    if chances[3]:
        third = side / 3
        corners = np.array(
            [[side / 2 + third] * 2, [side / 2 + third, side / 2 - third], [side / 2 - third] * 2]
        )
        known = np.column_stack([corners + shifts.reshape(3, 2), np.ones(3)])
        terms = np.linalg.solve(known, corners) if abs(np.linalg.det(known)) > side else np.eye(3, 2)
        shifted = terms.T + np.array([[0, 0, side], [0, 0, side]])
        a, b, c = shifted[0]
        d, e, f = shifted[1]
        c, f = c - (a + b) * side, f - (d + e) * side  # from the reflected canvas' own corner
        wide = _reflected(image).transform(
            (3 * side, 3 * side), Image.Transform.AFFINE, (a, b, c, d, e, f), BILINEAR
        )
        image = wide.crop((side, side, 2 * side, 2 * side))
    return image


def _reflected(image: Image.Image) -> Image.Image:
    """The picture in the middle of nine, mirrored at its sides."""
    side = image.width
    values = np.asarray(image)
    return Image.fromarray(np.pad(values, ((side, side), (side, side), (0, 0)), mode="symmetric"))


def _moved(
    image: Image.Image, mask: Image.Image, rng: np.random.Generator
) -> tuple[Image.Image, Image.Image]:
    """Zoomed a little, turned by up to 30 degrees, moved by up to 60 of 224 pixels, each by half a chance; black comes
    in."""
    side, chances = image.width, rng.random(3) < 0.5
    size = int(rng.integers(side, round(side * 256 / 224) + 1))
    left, top = (int(x) for x in rng.integers(0, size - side + 1, 2))
    angle, reach = int(rng.integers(-30, 31)), round(side * 60 / 224)
    dx, dy = (int(x) for x in rng.integers(-reach, reach + 1, 2))

    def one(part: Image.Image, way: Image.Resampling) -> Image.Image:
        if chances[0]:
            part = part.resize((size, size), way).crop((left, top, left + side, top + side))
        if chances[1]:
            part = part.rotate(angle, way)
        return (
            part.transform(part.size, Image.Transform.AFFINE, (1, 0, -dx, 0, 1, -dy)) if chances[2] else part
        )

    moved = one(mask, NEAREST)
    return (image, mask) if moved.getbbox() is None else (one(image, BICUBIC), moved)
