"""The peer of `sample dci`: the published sampler, written plainly over `plain_editing.Plain`.

Rows are [∅, concept, auxiliary], with ∅ of the concept's latents for both; attention is explicit in all steps.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from motif.bench.plain_editing import Plain

Words = tuple[Sequence[int], Sequence[int]]
"""The positions of a prompt's own words, and of those that are summed up."""


@torch.no_grad()
def dci(
    plain: Plain, x: Tensor, other: Tensor, texts: Sequence[Tensor], words: tuple[Words, Words], window: int
) -> Tensor:
    """The concept's last latents; `texts` are the states of the empty, the concept's and the auxiliary prompt, and λ is
    1. In so many steps the auxiliary latents walk beside them, and flow into them in every cross-attention layer."""
    n, gain = len(x), 500.0 * x.shape[-2] * x.shape[-1] / 64**2

    def strength(maps: Tensor, of: Words) -> Tensor:
        own, picked = (list(part) for part in of)
        again = (10 * maps[..., own]).softmax(-1)
        return gain * (10 * again[..., [own.index(i) for i in picked]].sum(-1)).softmax(-1)

    def mix(maps: Tensor, out: Tensor) -> Tensor:
        both = [strength(maps[(i + 1) * n : (i + 2) * n], words[i]) for i in range(2)]
        w = torch.stack(both).softmax(0)[..., None]
        return torch.cat([out[:n], w[0] * out[n : 2 * n] + w[1] * out[2 * n :], out[2 * n :]])

    for step in range(plain.steps):
        rows = [x, x, other] if step < window else [x, x]
        plain.attention.mix = mix if step < window else None
        states = torch.cat([text.expand(n, -1, -1) for text in texts[: len(rows)]])
        uncond, cond, *aside = plain.output(torch.cat(rows), step, states).split(n)
        x = plain.down(x, step, uncond, cond)
        if aside:
            other = plain.down(other, step, uncond, aside[0])
    plain.attention.mix = None
    return x
