"""The photos of an object, as ELITE's encoder looks at them: each with its mask, cut to the object's surroundings."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from motif.elite.segment import segmented
from motif.elite.tower import around
from motif.errors import InputError
from motif.images import Picture, open_picture

PADDING = 10 / 512  # around the object, as a share of the picture's longer side (training: up to 10 px)

Photo = str | Path | Image.Image


def looked_at(
    photos: Photo | Sequence[Photo],
    mask: Photo | Sequence[Photo] | None,
    *,
    crop: bool,
    segment: str = "",
) -> list[tuple[Image.Image, Image.Image | None]]:
    """Each photo with its mask: the one given, else its own, else CLIPSeg's of the words in `segment`, else none.

    InputError for masks that do not fit or are black, and for words where every photo has a mask.
    """
    pairs = list(zip(*_paired(photos, mask), strict=True))
    if segment and all(own is not None for _, own in pairs):
        raise InputError("every photo has a mask: there is nothing to segment")
    return [
        _view(photo, segmented(photo.image, segment) if segment and own is None else own, crop)
        for photo, own in pairs
    ]


def _paired(photos: Any, masks: Any) -> tuple[list[Picture], list[Image.Image | None]]:
    """The photos, and a mask or None for each."""
    listed = [photos] if isinstance(photos, str | Path | Image.Image) else list(photos)
    if not listed:
        raise InputError("no photo to encode")
    opened = [_opened(photo) for photo in listed]
    if masks is None:
        return opened, [picture.mask for picture in opened]
    given = [masks] if isinstance(masks, str | Path | Image.Image) else list(masks)
    if len(given) != len(opened):
        raise InputError(f"{len(given)} masks for {len(opened)} photos: give one for each")
    return opened, [_mask(mask, picture) for mask, picture in zip(given, opened, strict=True)]


def _opened(photo: Photo) -> Picture:
    if isinstance(photo, Image.Image):
        return Picture(Path("picture"), photo.convert("RGB"), None, ())
    return open_picture(Path(photo).expanduser())


def _mask(mask: Photo, picture: Picture) -> Image.Image:
    if isinstance(mask, Image.Image):
        image, lossy = mask.convert("L"), mask.format == "JPEG"
    else:
        image = open_picture(Path(mask).expanduser()).image.convert("L")
        lossy = Path(mask).suffix.lower() in (".jpg", ".jpeg")
    if lossy:  # around the object it is not black to the bit
        image = image.point([255 * (value > 127) for value in range(256)])
    (w, h), (x, y) = picture.image.size, image.size
    if abs(x * h - y * w) > max(w, h) * 2:
        raise InputError(f"a mask of {x}x{y} does not fit a photo of {w}x{h}: it needs the same shape")
    return image.resize((w, h), Image.Resampling.BICUBIC) if (x, y) != (w, h) else image


def _view(picture: Picture, mask: Image.Image | None, crop: bool) -> tuple[Image.Image, Image.Image | None]:
    """The photo and its mask, cut to the object's surroundings."""
    if mask is None:
        return picture.image, None
    box = mask.getbbox()
    if box is None:
        raise InputError(f"{picture.path}: its mask is all black, it marks nothing: white is the object")
    if not crop:
        return picture.image, mask
    box = around(picture.image, box, max(round(PADDING * max(picture.image.size)), 1))
    return picture.image.crop(box), mask.crop(box)
