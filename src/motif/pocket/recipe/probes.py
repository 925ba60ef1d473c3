"""Measurements of the whole base: how far its samples are from renders, whether DDIM inversion comes back, and whether
a word's attention lies on its object.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from motif.attention import Call, Control, Site
from motif.base import Base
from motif.lanes import Lane, denoise, finish
from motif.schedule import CLEAN
from motif.text import Text


class WordMaps(Control):
    """Adds up each picture's map of its own word, over steps, heads and layers of the two largest resolutions."""

    def __init__(self, spans: Sequence[slice]) -> None:
        self.spans = spans
        self.total: Tensor | None = None  # [image, h, w] of the latent

    def looks(self, site: Site, call: Call) -> bool:
        return site.kind == "cross"

    def maps(self, site: Site, call: Call, maps: Tensor) -> Tensor:
        h, w = call.grid(maps.shape[2])
        if 2 * h >= call.size[0]:
            own = [one[..., span].sum(-1).mean(0) for one, span in zip(maps, self.spans, strict=True)]
            grid = torch.stack(own).unflatten(-1, (h, w))[:, None]
            found = F.interpolate(grid, size=call.size, mode="bilinear")[:, 0]
            self.total = found if self.total is None else self.total + found
        return maps


@torch.no_grad()
def invert(base: Base, x0: Tensor, text: Text, *, steps: int) -> Tensor:
    """x_T of latents x0 [image, c, h, w]: DDIM up the schedule, guidance 1, ε̂ at the noise level that is left."""
    times = [CLEAN, *reversed(base.schedule.timesteps(steps))]
    x = x0
    for i, s in enumerate(times[1:]):
        t = max(times[i], 0)  # the network knows no timestep below 0
        call = Call((), i, steps, t, (x.shape[-2], x.shape[-1]))
        out = base.predict(x, t, text.states, text.pooled, call)
        x = base.schedule.move(x, out, times[i], s)
    return x


@torch.no_grad()
def come_back(
    base: Base,
    images: Tensor,
    masks: Tensor,
    captions: Sequence[str],
    nouns: Sequence[str],
    *,
    steps: int = 50,
) -> tuple[Tensor, Tensor]:
    """Per picture: PSNR in dB of DDIM inversion and sampling at guidance 1 against the VAE's own reconstruction, and
    the mean of the noun's map inside the object's mask over its mean outside.

    images [image, 3, h, w] in -1..1, masks [image, 1, h, w] in 0..1; every caption holds its noun.
    """
    mean, _ = base.posterior(images)
    text = base.read(captions)
    seen = WordMaps([text.span(noun, image=i) for i, noun in enumerate(nouns)])
    lane = Lane("main", invert(base, mean, text, steps=steps), text)
    again = finish(denoise(base, [lane], steps=steps, controls=[seen]))["main"]
    error = (base.decode(again).clamp(-1, 1) - base.decode(mean).clamp(-1, 1)).square().mean((1, 2, 3))
    assert seen.total is not None
    height, width = seen.total.shape[-2:]
    inside = F.adaptive_avg_pool2d(masks, (height, width))[:, 0]
    levels = [(seen.total * share).sum((1, 2)) / share.sum((1, 2)) for share in (inside, 1 - inside)]
    return 10 * torch.log10(4 / error), levels[0] / levels[1]


def kernel_distance(ours: Tensor, theirs: Tensor) -> Tensor:
    """KID: the unbiased squared MMD of features [n, d] and [m, d] under k(x, y) = (xᵀy / d + 1)³ (Bińkowski et
    al. 2018, section 4).
    """
    n, m = len(ours), len(theirs)
    a, b, c = (
        (x @ y.T / ours.shape[1] + 1) ** 3 for x, y in ((ours, ours), (theirs, theirs), (ours, theirs))
    )
    return (a.sum() - a.trace()) / (n * (n - 1)) + (b.sum() - b.trace()) / (m * (m - 1)) - 2 * c.mean()


def kernel_distances(
    ours: Tensor, theirs: Tensor, *, subsets: int = 50, size: int = 100, seed: int = 0
) -> Tensor:
    """[subset] `kernel_distance` of random subsets of both, as KID is reported."""
    draws = torch.Generator().manual_seed(seed)
    size = min(size, len(ours), len(theirs))

    def some(x: Tensor) -> Tensor:
        return x[torch.randperm(len(x), generator=draws)[:size]].double()

    return torch.stack([kernel_distance(some(ours), some(theirs)) for _ in range(subsets)])
