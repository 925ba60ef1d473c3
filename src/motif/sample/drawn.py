"""What a sampler gives that has more to tell than its pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from PIL.Image import Image as Picture

if TYPE_CHECKING:
    from PIL.Image import Image


class Keep(Protocol):
    """Takes each picture as soon as it is drawn. `label` says what a seed's pictures differ in; "" where nothing."""

    def __call__(self, image: Image, *, seed: int, label: str = "") -> object: ...


class Drawn(list[Picture]):
    """A list of pictures, with a label and a seed each, and what belongs to all of them."""

    def __init__(
        self,
        images: Sequence[Image],
        *,
        seeds: Sequence[int],
        labels: Sequence[str] = (),
        sheets: Mapping[str, Image] | None = None,
        about: Mapping[str, Any] | None = None,
        why: str = "",
    ) -> None:
        super().__init__(images)
        self.seeds = tuple(seeds)
        self.labels = tuple(labels) or ("",) * len(images)
        self.sheets = dict(sheets or {})  # other pictures, by a name for their file
        self.about = dict(about or {})  # what the record of the pictures should say
        self.why = why  # what was chosen, and for which reason, where the sampler chose
