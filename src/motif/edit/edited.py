"""An edit's result: the pictures, and what they came from and how, on one strip."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from PIL import Image as Pillow
from PIL import ImageChops, ImageDraw
from torch import Tensor

from motif.grids import grid

if TYPE_CHECKING:
    from PIL.Image import Image


@dataclass(frozen=True, eq=False)
class Edited:
    """Edited pictures, target prompt by target prompt, and within each photo by photo."""

    method: str
    prompts: tuple[str, ...]  # the target prompts
    images: tuple[Image, ...]  # [target x photo]
    latents: Tensor  # [target, image, c, h, w]
    sources: tuple[Image, ...] = ()  # the photos; none where the source was drawn from a seed
    reconstructions: tuple[Image, ...] = ()  # what the source comes back to unedited
    beside: Mapping[str, Image] = field(default_factory=dict[str, "Image"])  # what else was given: "style"
    masks: Tensor | None = None  # [target, image, h, w], bool: where an edit could differ from the source
    settings: Mapping[str, Any] = field(default_factory=dict[str, Any])
    evaluations: int = 0  # of the denoiser, each of one picture
    seconds: float = 0.0
    labels: tuple[str, ...] = ()  # of the targets, where their prompts do not tell them apart
    why: str = ""  # what was chosen, and for which reason, where the edit chose

    @property
    def image(self) -> Image:
        """The first picture, and the only one in most uses."""
        return self.images[0]

    def strip(self, photo: int = 0) -> Image:
        """Source, reconstruction, then mask and edit of every target, side by side. Where an edit has no mask, what it
        changed stands there: light is far from the source."""
        cells: list[tuple[Image, str]] = []
        if self.sources:
            cells.append((self.sources[photo], "source"))
        cells += [(picture, name) for name, picture in self.beside.items()]
        if self.reconstructions:
            cells.append((self.reconstructions[photo], "reconstruction" if self.sources else "source"))
        for target, name in enumerate(self.labels or self.prompts):
            picture = self.images[target * self._photos + photo]
            if self.masks is None:
                cells.append((_changed(picture, (self.sources or self.reconstructions)[photo]), "change"))
            elif not target or not self.masks[target, photo].equal(self.masks[target - 1, photo]):
                cells.append((_shown(self.masks[target, photo], picture.size), "mask"))
            cells.append((picture, name))
        title = " | ".join(dict.fromkeys(self.prompts)) if self.labels else ""
        labels = [name for _, name in cells]
        return grid([cell for cell, _ in cells], labels=labels, columns=min(len(cells), 8), title=title)

    def sheet(self) -> Image:
        """The strips of all photos, one below the other."""
        strips = [self.strip(photo) for photo in range(self._photos)]
        sheet = Pillow.new("RGB", (max(s.width for s in strips), sum(s.height for s in strips)), "white")
        top = 0
        for strip in strips:
            sheet.paste(strip, (0, top))
            top += strip.height
        return sheet

    @property
    def _photos(self) -> int:
        return len(self.images) // len(self.prompts)


def _shown(mask: Tensor, size: tuple[int, int]) -> Image:
    """A mask in white, in a grey frame: the page is white too."""
    picture = Pillow.fromarray(mask.mul(255).byte().cpu().numpy())
    picture = picture.resize(size, Pillow.Resampling.NEAREST).convert("RGB")
    ImageDraw.Draw(picture).rectangle((0, 0, size[0] - 1, size[1] - 1), outline="gray")
    return picture


def _changed(picture: Image, source: Image) -> Image:
    """The largest difference of the three colours, white from a third of the scale on."""
    bands = ImageChops.difference(picture, source).split()
    most = ImageChops.lighter(ImageChops.lighter(bands[0], bands[1]), bands[2])
    return most.point([min(3 * value, 255) for value in range(256)]).convert("RGB")
