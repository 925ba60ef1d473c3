"""Which source a picture is compared with, and where: what every metric of edits shares.

Pairs are made by name where every picture's name (without its ending) is a source's too, else in order where
there are as many sources, else one source serves all. A source of another size is scaled to cover its picture
and its centre is cut out, as `motif.photo` does before it is edited.

A mask marks the region to edit in white. It lies beside the source (NAME-mask.png, or its transparency), or is
given: a folder with the sources' names (NAME.png or NAME-mask.png), one file for all, or one for each in order.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from PIL import Image, ImageOps

from motif.errors import InputError
from motif.features.pictures import SUFFIXES, Pictures, gather, names, opened
from motif.images import mask_path, open_picture

if TYPE_CHECKING:
    from torch import Tensor

Region = Literal["whole", "inside", "outside"]
Item = Path | Image.Image


@dataclass(frozen=True, eq=False)
class Pair:
    """A picture, what it is compared with, and the mask of the region that was to be edited."""

    name: str
    image: Item
    source: Item
    given: Item | None = None  # a mask from elsewhere than beside the source

    def pixels(self) -> "tuple[Tensor, Tensor]":
        """(picture, source), each [3, h, w] in [0, 1], float64, of one size."""
        image = opened(self.image)
        return tensor(image), tensor(fitted(opened(self.source), image.size))

    def mask(self) -> "Tensor":
        """[h, w] in [0, 1]: `grey_mask`."""
        return tensor(self.grey_mask())[0]

    def grey_mask(self) -> Image.Image:
        """L, at the picture's size: white is the region to edit. InputError where there is no mask."""
        size = (open_picture(self.image).image if isinstance(self.image, Path) else self.image).size
        return fitted(self._mask().convert("L"), size)

    def _mask(self) -> Image.Image:
        if isinstance(self.given, Path):
            return open_picture(self.given).image
        if self.given is not None:
            return self.given
        beside = open_picture(self.source).mask if isinstance(self.source, Path) else None
        if beside is None:
            place = f" ({mask_path(self.source).name})" if isinstance(self.source, Path) else ""
            raise InputError(f"{self.name}: no mask beside its source{place}: give masks")
        return beside


def pairs(
    images: Pictures, sources: Pictures, *, masks: Pictures | None = None, region: Region = "whole"
) -> tuple[list[Pair], str]:
    """Every picture with its source, and how they were paired, in words.

    Raises:
        InputError: counts that do not match, a mask that is missing, or masks that nothing would read.
    """
    if region not in ("whole", "inside", "outside"):
        raise InputError(f"region {region!r}: use whole, inside or outside")
    if region == "whole" and masks is not None:
        raise InputError("masks are given and the region is whole: choose inside or outside")
    made, wanted = gather(images, "pictures"), gather(sources, "sources")
    chosen, how = _sources(made, wanted)
    given = [None] * len(made) if masks is None else _masks(masks, chosen)
    found = [Pair(*row) for row in zip(names(made), made, chosen, given, strict=True)]
    return found, how


def _sources(made: Sequence[Item], wanted: Sequence[Item]) -> tuple[list[Item], str]:
    """One source for each picture."""
    if len(wanted) == 1:
        return [wanted[0]] * len(made), "one source for all"
    by_name = {item.stem: item for item in wanted if isinstance(item, Path)}
    stems = [item.stem for item in made if isinstance(item, Path)]
    if len(by_name) == len(wanted) and len(stems) == len(made) and by_name.keys() >= set(stems):
        return [by_name[stem] for stem in stems], "by name"
    if len(made) != len(wanted):
        raise InputError(
            f"{len(made)} pictures and {len(wanted)} sources: give one source for all, one for each in their "
            "order, or sources of the same names"
        )
    return list(wanted), "in order"


def _masks(masks: Pictures, sources: Sequence[Item]) -> list[Item]:
    """One mask for each source."""
    if isinstance(masks, str | Path) and (folder := Path(masks).expanduser()).is_dir():
        found: list[Item] = [_named(folder, source) for source in sources]
        return found
    given = gather(masks, "masks")
    if len(given) not in (1, len(sources)):
        raise InputError(f"{len(given)} masks for {len(sources)} pictures: give one for all, or one for each")
    return list(given) * (len(sources) if len(given) == 1 else 1)


def _named(folder: Path, source: Item) -> Path:
    """The mask of a source in a folder of masks."""
    if not isinstance(source, Path):
        raise InputError(f"{folder}: masks go by the sources' names, and these are no files: list the masks")
    for stem in (f"{source.stem}-mask", source.stem):
        for suffix in (".png", *sorted(SUFFIXES - {".png"})):
            place = folder / f"{stem}{suffix}"
            if place.is_file() and not place.samefile(source):
                return place
    raise InputError(f"{folder}: no mask {source.stem}.png or {source.stem}-mask.png for {source.name}")


def fitted(picture: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Scaled to cover (width, height), bicubic, and its centre cut out; the picture itself where it has that size."""
    return picture if picture.size == size else ImageOps.fit(picture, size, Image.Resampling.BICUBIC)


def tensor(picture: Image.Image) -> "Tensor":
    """[channel, h, w] in [0, 1], float64."""
    import numpy as np
    import torch

    values = np.asarray(picture, dtype=np.float64) / 255
    return torch.from_numpy(values if values.ndim == 3 else values[..., None]).permute(2, 0, 1)
