"""The photos of a run, each opened once and kept no larger than it will be shown."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from motif.base import Base
from motif.errors import InputError
from motif.learn.augment import Placement, fitted, valid
from motif.learn.examples import Examples
from motif.learn.recipes import Recipe

if TYPE_CHECKING:
    from PIL.Image import Image

log = logging.getLogger("motif")


@dataclass(frozen=True, eq=False)
class Shown:
    """A photo as a run keeps it: no larger than its largest zoom, with its mask where only the subject is learned."""

    image: Image
    mask: Image | None
    caption: str

    @staticmethod
    def all(
        base: Base,
        examples: Examples,
        recipe: Recipe,
        side: int,
        *,
        masked: bool,
        captions: Sequence[str] = (),
    ) -> tuple[Shown, ...]:
        """The photos, each opened once. InputError where a mask marks nothing of what is learned.

        Args:
            side: Of the square pictures to train on, in pixels.
            masked: Where a photo has a mask, only its subject counts.
            captions: Of each photo; the default is its own.
        """
        found, unused, bare = list[Shown](), False, list[str]()
        texts = captions or [photo.caption for photo in examples.photos]
        for photo, caption in zip(examples.photos, texts, strict=True):
            picture = photo.picture
            image = fitted(picture.image, side, crop=recipe.crop, bilinear=recipe.bilinear)
            mask = fitted(picture.mask, side, crop=recipe.crop) if masked and picture.mask else None
            if not valid(Placement(side), side, base.latent_factor, border=recipe.border, mask=mask).any():
                raise InputError(
                    f"{photo.path}: its mask marks nothing in the square that is learned: crop the photo around its "
                    "subject, or learn whole photos (--no-masked)"
                )
            found.append(Shown(image, mask, caption))
            unused |= picture.mask is not None and not masked
            bare += [photo.path.name] if masked and mask is None else []
        if bare and len(bare) == len(found):
            raise InputError(
                "masked: no photo has a mask (white is the subject): put NAME-mask.png beside NAME.*, or learn whole "
                "photos (--no-masked)"
            )
        if bare:
            log.warning(
                "%d of %d photos have no mask and are learned whole: %s", len(bare), len(found), bare[0]
            )
        if unused:
            log.info(
                "some photos have masks, and whole photos are learned: --masked learns the subjects alone"
            )
        return tuple(found)
