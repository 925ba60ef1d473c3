"""An edit's start without a photo: the noise of a seed, and the prompt that draws the source picture from it.

What Prompt-to-Prompt first edited: two prompts from one z_T. It has what an edit asks of an `Inversion`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from motif.attention import Control
from motif.base import Base
from motif.errors import InputError
from motif.lanes import SEEDS, Lane, away
from motif.schedule import draw_noise


@dataclass(frozen=True, eq=False)
class Seeded:
    """The start of a drawn picture; `seeded` makes it."""

    prompts: tuple[str, ...]
    start: Tensor  # [image, c, h, w]
    steps: int
    guidance: float
    negative: str = ""
    method: str = "seed"
    replays: Mapping[str, Mapping[str, Any]] = field(default_factory=dict[str, Mapping[str, Any]])
    """None."""

    def __len__(self) -> int:
        return len(self.start)

    def check(self, base: Base) -> None:
        """InputError where the noise does not fit the base."""
        if self.start.shape[1] != base.latent_shape()[0]:
            raise InputError(f"the noise has {self.start.shape[1]} channels, not {base.latent_shape()[0]}")

    def lanes(self, base: Base, prompts: Sequence[str] = (), *, guidance: float | None = None) -> list[Lane]:
        """The source's lane, then one per target prompt, all from the same noise."""
        self.check(base)
        with torch.no_grad():
            scale = self.guidance if guidance is None else guidance
            uncond = away(base, self.negative, scale)
            texts = [base.read(self.prompts), *map(base.read, prompts)]
        names = ["source", *target_names(len(prompts))]
        pairs = zip(names, texts, strict=True)
        return [Lane(name, self.start.to(base.device), text, uncond, scale) for name, text in pairs]

    def controls(self, base: Base) -> list[Control]:
        """Nothing: the source is drawn as it ever is."""
        return []

    def retuned(self, kind: str, **settings: Any) -> Seeded:
        """InputError: there is nothing to set otherwise."""
        raise InputError(f"a drawn seed replays nothing, no {kind}: invert a photo")


def seeded(
    base: Base,
    prompt: str,
    *,
    seed: int = 0,
    n: int = 1,
    steps: int = 50,
    guidance: float | None = None,
    negative: str = "",
    height: int | None = None,
    width: int | None = None,
) -> Seeded:
    """The start of n drawn pictures of a prompt, picture i from seed + i: the same that `sample plain` draws.

    Raises:
        InputError: a size that does not divide, steps or a seed out of range, a token that no worn concept knows.
    """
    if n < 1 or not 0 <= seed < SEEDS - n:
        raise InputError(f"seed {seed}, n {n}: a seed lies between 0 and 2^63 - 1, and n is at least 1")
    base.schedule.timesteps(steps)
    base.tokenise([prompt, negative])
    size = (base.size if height is None else height, base.size if width is None else width)
    draws = [torch.Generator().manual_seed(seed + i) for i in range(n)]
    dtype = torch.promote_types(base.dtype, torch.float32)
    start = draw_noise(base.latent_shape(size), draws, torch.empty(0, dtype=dtype))
    return Seeded((prompt,), start, steps, base.guidance if guidance is None else guidance, negative)


def target_names(count: int) -> list[str]:
    """ "target", "target-2", ...: the lanes of so many target prompts."""
    return ["target", *(f"target-{i}" for i in range(2, count + 1))][:count]
