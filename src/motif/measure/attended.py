"""Where an inversion's attention sees a word: the mask of NS-LPIPS.

    m = mean over steps, layers and heads of M[:, first token of the word],   m / max m

from the cross maps at a quarter of the latent's side (16 x 16 of 64 x 64) while the photo is walked up the schedule
with its caption, guidance 1. StyleDiffusion's release (editing card, 14.4). Its store keeps the second half of the
heads, a slip that `heads="last-half"` repeats; its index of the word counts words, ours counts tokens.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import torch

from motif.attention import Call, Control, Site
from motif.base import Base
from motif.climb import climb
from motif.errors import InputError
from motif.inversion import Inversion

if TYPE_CHECKING:
    from PIL import Image
    from torch import Tensor

Heads = Literal["all", "last-half"]
PART = 4
"""Of the latent's side."""


class _Seen(Control):
    """Sums the maps of one position per image."""

    def __init__(self, positions: Sequence[int], heads: Heads) -> None:
        self.positions, self.heads = positions, heads
        self.total: Tensor | None = None

    def looks(self, site: Site, call: Call) -> bool:
        return site.kind == "cross" and site.level == call.level(PART)

    def maps(self, site: Site, call: Call, maps: "Tensor") -> "Tensor":
        kept = maps[:, maps.shape[1] // 2 :] if self.heads == "last-half" else maps
        word = torch.stack([kept[i, ..., place].mean(0) for i, place in enumerate(self.positions)])
        word = word.float().unflatten(-1, call.grid(maps.shape[2]))  # [image, h, w]
        self.total = word if self.total is None else self.total + word
        return maps


def attended(base: Base, inversion: Inversion, word: str, *, heads: Heads = "all") -> "Tensor":
    """[image, h, w] in [0, 1]: how much each place of the photos attends to the word, over the most.

    Raises:
        InputError: a caption without the word, a base without maps of that size. WrongBase: of another base.
    """
    if heads not in ("all", "last-half"):
        raise InputError(f"heads {heads!r}: use all or last-half")
    inversion.check(base)
    with torch.no_grad():
        text = base.read(inversion.prompts)
    seen = _Seen([text.span(word, image=i).start for i in range(len(inversion))], heads)
    for _ in climb(base, inversion.latents[0].to(base.device), text, steps=inversion.steps, controls=[seen]):
        pass
    if seen.total is None:
        raise InputError(f"{base.name} has no attention to words at a quarter of the latent's side")
    return (seen.total / seen.total.amax((1, 2), keepdim=True)).cpu()


def masks(
    base: Base, inversion: Inversion, word: str, *, heads: Heads = "all", size: tuple[int, int] | None = None
) -> "list[Image.Image]":
    """`attended` as grey pictures of (h, w), the photos' own where none is given: cut to bytes, scaled up, bicubic."""
    from PIL import Image

    h, w = size or inversion.size
    small = [
        Image.fromarray((one * 255).byte().numpy()) for one in attended(base, inversion, word, heads=heads)
    ]
    return [one.resize((w, h), Image.Resampling.BICUBIC) for one in small]
