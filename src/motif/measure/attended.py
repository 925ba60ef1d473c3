"""Where an inversion's attention sees a word: the mask of NS-LPIPS.

    m = mean over steps, layers and heads of M[:, first token of the word],   m / max m

from the cross maps at a quarter of the latent's side (16 x 16 of 64 x 64) while the photo is walked up the schedule
with its caption, guidance 1. StyleDiffusion's release (editing card, 14.4). Its store keeps the second half of the
heads, a slip that `heads="last-half"` repeats; its index of the word counts words, ours counts tokens.
"""

from typing import TYPE_CHECKING

import torch

from motif.attend import Heads, Watched
from motif.base import Base
from motif.climb import climb
from motif.errors import InputError
from motif.inversion import Inversion

if TYPE_CHECKING:
    from PIL import Image
    from torch import Tensor

PART = 4
"""Of the latent's side."""


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
    places = [[[text.span(word, image=i).start]] for i in range(len(inversion))]
    seen = Watched(places, part=PART, heads=heads)
    for _ in climb(base, inversion.latents[0].to(base.device), text, steps=inversion.steps, controls=[seen]):
        pass
    if not seen.sums:
        raise InputError(f"{base.name} has no attention to words at a quarter of the latent's side")
    total = torch.stack([torch.cat(each).sum(0) for each in zip(*seen.sums.values(), strict=True)])
    return (total / total.amax((1, 2), keepdim=True)).cpu()


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
