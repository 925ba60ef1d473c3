"""Measurements of the whole base: how far its samples are from renders, whether DDIM inversion comes back, and whether
a word's attention lies on its object.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
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


@dataclass(frozen=True)
class Back:
    """What inversion and sampling gave, [picture] each: measured, and where nothing or all would be right."""

    psnr: Tensor
    """dB of the picture that comes back against the VAE's own reconstruction; `lowest`: against another picture's;
    `highest`: of the reconstruction in 8 bits.
    """
    lowest: Tensor
    highest: Tensor
    ratio: Tensor
    """The noun's map inside the object's mask over outside; `other`: a random other word's; `mask`: the mask's own, if
    it were the map.
    """
    other: Tensor
    mask: Tensor


@torch.no_grad()
def come_back(
    base: Base,
    images: Tensor,
    masks: Tensor,
    captions: Sequence[str],
    nouns: Sequence[str],
    *,
    steps: int = 50,
    seed: int = 0,
) -> Back:
    """DDIM inversion and sampling at guidance 1 of images [image, 3, h, w] in -1..1 with masks [image, 1, h, w] in
    0..1; every caption holds its noun, and other words.
    """
    mean, _ = base.posterior(images)
    text = base.read(captions)
    own = [text.span(noun, image=i) for i, noun in enumerate(nouns)]
    seen, other = WordMaps(own), WordMaps(other_words(text, own, seed))
    lane = Lane("main", invert(base, mean, text, steps=steps), text)
    again = base.decode(finish(denoise(base, [lane], steps=steps, controls=[seen, other]))["main"]).clamp(
        -1, 1
    )
    first = base.decode(mean).clamp(-1, 1)
    assert seen.total is not None and other.total is not None
    height, width = seen.total.shape[-2:]
    inside = F.adaptive_avg_pool2d(masks, (height, width))
    coarse = F.adaptive_avg_pool2d(masks, (height // 2, width // 2))
    perfect = inside + F.interpolate(coarse, size=(height, width), mode="bilinear")
    return Back(
        _psnr(again, first),
        _psnr(again, first.roll(1, 0)),
        _psnr(((first + 1) * 127.5).round() / 127.5 - 1, first),
        *(_inside_over_outside(maps, inside[:, 0]) for maps in (seen.total, other.total, perfect[:, 0])),
    )


def other_words(text: Text, own: Sequence[slice], seed: int) -> list[slice]:
    """Per picture the positions of a word of its caption, evenly drawn from those that are not its `own`."""
    rng = np.random.default_rng(seed)
    choices = [
        [span for _, span in one.words() if span.stop <= mine.start or span.start >= mine.stop]
        for one, mine in zip(text.tokens, own, strict=True)
    ]
    return [spans[int(rng.integers(len(spans)))] for spans in choices]


def _psnr(one: Tensor, other: Tensor) -> Tensor:
    """[image] dB of pictures [image, 3, h, w] in -1..1."""
    return 10 * torch.log10(4 / (one - other).square().mean((1, 2, 3)))


def _inside_over_outside(maps: Tensor, inside: Tensor) -> Tensor:
    """[image]: the mean of maps [image, h, w] weighted by `inside` over the mean weighted by 1 − `inside`."""
    means = [(maps * share).sum((1, 2)) / share.sum((1, 2)) for share in (inside, 1 - inside)]
    return means[0] / means[1]


def kernel_distance(ours: Tensor, theirs: Tensor, *, paired: bool = False) -> float:
    """KID: the unbiased squared MMD of features [n, d] and [m, d] under k(x, y) = (xᵀy / d + 1)³ (Bińkowski et
    al. 2018, section 4). `paired`: row i of both has one caption, so that k(xᵢ, yᵢ) is no comparison of strangers.
    """
    return _distances(ours, theirs, *(torch.ones(1, len(x)) for x in (ours, theirs)), paired=paired).item()


def kernel_distance_error(
    ours: Tensor, theirs: Tensor, *, paired: bool = False, draws: int = 1000, seed: int = 0
) -> float:
    """KID's standard error by the bootstrap (Efron 1979): its standard deviation over `draws` in which the pictures of
    both sides are drawn anew with replacement; a picture is never compared with its own copy. Paired rows are drawn
    together.
    """
    noise = torch.Generator().manual_seed(seed)

    def counts(rows: int) -> Tensor:
        picks = torch.randint(rows, (draws, rows), generator=noise)
        return torch.zeros(draws, rows).scatter_add_(1, picks, torch.ones(draws, rows))

    first = counts(len(ours))
    second = first if paired else counts(len(theirs))
    return _distances(ours, theirs, first, second, paired=paired).std().item()


def _distances(ours: Tensor, theirs: Tensor, first: Tensor, second: Tensor, *, paired: bool) -> Tensor:
    """[draw] KID of features [n, d] and [m, d] whose rows count first [draw, n] and second [draw, m] times."""
    x, y, u, v = (tensor.double() for tensor in (ours, theirs, first, second))

    def mean(a: Tensor, b: Tensor, left: Tensor, right: Tensor, *, strangers: bool) -> Tensor:
        kernel = (a @ b.T / a.shape[1] + 1) ** 3
        total, weight = ((left @ kernel) * right).sum(1), left.sum(1) * right.sum(1)
        if strangers:
            both = left * right
            total, weight = total - both @ kernel.diagonal(), weight - both.sum(1)
        return total / weight

    across = mean(x, y, u, v, strangers=paired)
    return mean(x, x, u, u, strangers=True) + mean(y, y, v, v, strangers=True) - 2 * across
