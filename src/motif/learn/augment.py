"""Custom Diffusion's resize augmentation: a photo in many sizes, a mask of what is valid, a prefix that says so.

Card 1.5; Kumari et al. 2023, appendix. With S the picture's side and r a drawn size:

    1/3 of the draws: r in [1.2 S, 1.4 S)   crop an S x S window      "zoomed in " | "close up "      mask: all ones
    2/3 of the draws: r in [S/3, S]
        r < 0.6 S     paste r x r on a grey S x S canvas               "a far away " | "very small "   mask: the box
        else          the whole picture                                                                mask: all ones

Ours beyond the card: where a photo has a mask of its subject, a placement that misses the subject is drawn anew.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from PIL.Image import Image, Resampling

PLAIN = ("",)
ZOOMED = ("zoomed in ", "close up ")
SMALL = ("a far away ", "very small ")
LARGEST = 1.4
"""The largest zoom, in sides of the canvas."""

IN_VIEW = 0.25
"""The least share of a photo's subject, by area, that counts in a placement of it."""

TRIES = 16


@dataclass(frozen=True)
class Placement:
    """Where a photo lands on the canvas: its drawn side, its top left corner there, flipped or not, and the prefix.

    `size` > S is a zoom: the corner is negative and the canvas is a window on it. `whole` means the plain picture.
    """

    size: int
    top: int = 0
    left: int = 0
    flip: bool = False
    prefix: str = ""
    boxed: bool = False  # the canvas shows grey around the photo

    def whole(self, side: int) -> bool:
        return self.size == side and not self.boxed


@dataclass(frozen=True)
class Resizing:
    """How placements are drawn and worded; the three published codes of Custom Diffusion differ (card 1.5, 1.9), and
    other methods have other words.

    Attributes:
        zoom: Probability of a zoom.
        shrink: Whether pictures are ever shrunk; else what is no zoom is the whole picture.
        shrink_middle: Shrink and mask the sizes between 0.6 S and S too, without a prefix of their own ([HF]).
        even: Round odd sizes up ([CV], [OD]).
        flip: Probability of a mirror image.
        plain: What a caption begins with, one of these with equal chances, where the picture is whole.
        zoomed: ... where it is a zoom.
        small: ... where it is small.
    """

    zoom: float = 1 / 3
    shrink: bool = True
    shrink_middle: bool = False
    even: bool = True
    flip: float = 0.5
    plain: tuple[str, ...] = PLAIN
    zoomed: tuple[str, ...] = ZOOMED
    small: tuple[str, ...] = SMALL

    def prefixes(self, augment: bool) -> tuple[str, ...]:
        """Everything that a caption may begin with."""
        more = (*self.zoomed, *(self.small if self.shrink else ())) if augment else ()
        return tuple(dict.fromkeys((*self.plain, *more)))

    def whole(self, side: int, rng: np.random.Generator) -> Placement:
        """The whole picture."""
        return Placement(side, flip=bool(rng.random() < self.flip), prefix=_one(self.plain, rng))

    def draw(self, side: int, rng: np.random.Generator) -> Placement:
        """One placement on a canvas of that side.

        Corners are drawn where the card draws centres: the same for even sizes, and odd ones stay on the canvas.
        """
        if rng.random() < self.zoom:
            size = self._round(int(rng.integers(int(1.2 * side), int(LARGEST * side))))
            prefix = _one(self.zoomed, rng)
            top, left = (-int(x) for x in rng.integers(0, size - side + 1, 2))
            boxed = False
        elif not self.shrink:
            return self.whole(side, rng)
        else:
            size = min(self._round(int(rng.integers(side // 3, side + 1))), side)
            small = size < 0.6 * side
            prefix = _one(self.small if small else self.plain, rng)
            boxed = small or (self.shrink_middle and size < side)
            if not boxed:
                size = side
            top, left = (int(x) for x in rng.integers(0, side - size + 1, 2))
        return Placement(size, top, left, bool(rng.random() < self.flip), prefix, boxed)

    def _round(self, size: int) -> int:
        return size + size % 2 if self.even else size


def _one(words: tuple[str, ...], rng: np.random.Generator) -> str:
    return words[int(rng.integers(len(words))) if len(words) > 1 else 0]


def look(
    resizing: Resizing,
    side: int,
    factor: int,
    rng: np.random.Generator,
    *,
    augment: bool = True,
    border: bool = False,
    mask: Image | None = None,
) -> tuple[Placement, np.ndarray]:
    """How a step sees one photo, and the latent cells of it that count (`valid`).

    Where the photo has a mask, the placement is drawn anew until IN_VIEW of the subject counts; after TRIES it is the
    whole picture.
    """
    plain = resizing.whole(side, rng)
    subject = 0.0 if mask is None else float(np.asarray(mask.convert("L")).mean()) / 255  # share of the photo
    for _ in range(TRIES if augment else 0):
        placement = resizing.draw(side, rng)
        cells = valid(placement, side, factor, border=border, mask=mask)
        if mask is None or cells.sum() * factor**2 >= IN_VIEW * subject * placement.size**2:
            return placement, cells
    return plain, valid(plain, side, factor, border=border, mask=mask)


def fitted(photo: Image, side: int, *, crop: bool, bilinear: bool = False) -> Image:
    """What placements are made from: the centre square of a photo, or all of it, to be squashed; no larger than the
    largest zoom, and never enlarged."""
    width, height, cap = *photo.size, math.ceil(LARGEST * side)
    edge = min(width, height)
    left, top = ((width - edge) // 2, (height - edge) // 2) if crop else (0, 0)
    right, bottom = (left + edge, top + edge) if crop else (width, height)
    size = min(right - left, cap), min(bottom - top, cap)
    return photo.resize(size, _filter(bilinear), box=(left, top, right, bottom))


def place(photo: Image, placement: Placement, side: int, *, bilinear: bool = False) -> np.ndarray:
    """The canvas [side, side, 3] in [-1, 1]; mid grey where the photo is not."""
    return _placed(photo, placement, side, bilinear=bilinear) / 127.5 - 1


def valid(
    placement: Placement, side: int, factor: int, *, border: bool = False, mask: Image | None = None
) -> np.ndarray:
    """The mask [side / factor, side / factor] of latent cells that count.

    Those that the photo fills: a box loses about one cell on every side; `border` trims the whole picture by a cell too
    ([HF]; never a zoom). They never become none: a far away object on a small canvas would divide by zero. With the
    photo's own `mask` (white is the subject), a cell counts by the share of it that the subject covers, and none does
    where the placement misses the subject.
    """
    cells = side // factor
    filled = np.ones((cells, cells), dtype=np.float32)
    if placement.boxed or (border and placement.size <= side):
        filled[:] = 0
        spans: list[slice] = []
        for start in (placement.top, placement.left):
            first, last = max(start, 0) // factor + 1, min(start + placement.size, side) // factor - 1
            middle = min((max(start, 0) + min(start + placement.size, side)) // (2 * factor), cells - 1)
            spans.append(slice(min(first, middle), max(last, middle + 1)))
        filled[spans[0], spans[1]] = 1
    if mask is None:
        return filled
    subject = _placed(mask.convert("RGB"), placement, side, outside=0.0)[..., 0] / 255
    subject = subject[: cells * factor, : cells * factor].reshape(cells, factor, cells, factor)
    return filled * subject.mean((1, 3))


def _placed(
    photo: Image, placement: Placement, side: int, *, outside: float = 127.5, bilinear: bool = False
) -> np.ndarray:
    """The canvas [side, side, 3] in 0..255."""
    from PIL import ImageOps

    photo = ImageOps.mirror(photo) if placement.flip else photo
    resized = photo.resize((placement.size, placement.size), _filter(bilinear))
    pixels = np.asarray(resized, dtype=np.float32)
    canvas = np.full((side, side, 3), outside, dtype=np.float32)
    top, left = max(placement.top, 0), max(placement.left, 0)
    cut = pixels[max(-placement.top, 0) :, max(-placement.left, 0) :][: side - top, : side - left]
    canvas[top : top + cut.shape[0], left : left + cut.shape[1]] = cut
    return canvas


def _filter(bilinear: bool) -> Resampling:
    from PIL.Image import Resampling

    return Resampling.BILINEAR if bilinear else Resampling.BICUBIC
