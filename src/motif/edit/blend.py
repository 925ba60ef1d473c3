"""Local blend: outside of the words' places the edited lanes are the source, latent for latent.

    m_b  = Σ over steps so far, layers and heads of Σ_n M_b[n] over the blend words' positions n
    B(m) = maxpool₃(m) / max > threshold
    x*   ← x + (B(m_source) ∪ B(m_target)) (x* − x)         of the source alone: B(m_source)

Prompt-to-Prompt's LocalBlend (Hertz et al. 2022; card 6.6), from the cross maps at a quarter of the latent's side,
after they were edited; it acts from `start` of the run on. Custom-Edit (Choi et al. 2023) takes the source's mask
alone. Words of `spare` are cut out of the mask, without the pooling.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from motif.attention import Call, Control, Side, Site

PART = 4
"""Masks come from maps with so small a part of the latent's side: 16 x 16 of 64 x 64."""

Places = Mapping[str, Sequence[Sequence[int]]]
"""{lane: for each image, or once for all: the positions of its words}."""


class LocalBlend(Control):
    """Keeps every target lane on the source's latents outside its mask. It stands behind all other controls.

    Args:
        words: The blend words' positions in every lane; the source's too. A lane without any gives no mask of its own.
        lanes: The target lanes.
        spare: The positions of words to leave out of the mask.
        threshold: What share of a map's maximum belongs to the mask.
        start: From which part of the run on.
        source: The lane that gives.
    """

    def __init__(
        self,
        words: Places,
        lanes: Sequence[str],
        *,
        spare: Places | None = None,
        threshold: float = 0.3,
        start: float = 0.2,
        source: str = "source",
    ) -> None:
        self.words, self.lanes, self.spare, self.source = words, lanes, spare or {}, source
        self.threshold, self.start = threshold, start
        self.sums: dict[tuple[str, str], Tensor] = {}  # (lane, "words" or "spare") -> [image, h, w]
        self.masks: dict[str, Tensor] = {}  # of the last step: [image, 1, h, w]

    def reads(self, lane: str, side: Side, step: int, steps: int) -> bool:
        return side == "cond" and any((*self.words.get(lane, ()), *self.spare.get(lane, ())))

    def looks(self, site: Site, call: Call) -> bool:
        return site.kind == "cross" and site.level == call.level(PART)

    def maps(self, site: Site, call: Call, maps: Tensor) -> Tensor:
        for lane in (self.source, *self.lanes):
            row = call.row(lane)
            if row is None:
                continue
            for kind, places in (("words", self.words), ("spare", self.spare)):
                if any(places.get(lane, ())):
                    seen = _over_words(maps[row.span], places[lane]).unflatten(-1, call.grid(maps.shape[2]))
                    before = self.sums.get((lane, kind))
                    self.sums[lane, kind] = seen if before is None else before + seen
        return maps

    def after(self, call: Call, latents: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        if call.step < math.floor(self.start * call.steps + 1e-9) or self.source not in latents:
            return latents
        giver, found = latents[self.source], dict(latents)
        for lane in self.lanes:
            if lane in latents:
                self.masks[lane] = mask = self._mask(lane, giver)
                found[lane] = torch.where(mask, latents[lane], giver)
        return found

    def _mask(self, lane: str, like: Tensor) -> Tensor:
        """[image, 1, h, w], bool: where this lane may differ from the source."""
        mask = self._side(lane, "words", like) | self._side(self.source, "words", like)
        if self.spare:
            mask &= ~(self._side(lane, "spare", like) | self._side(self.source, "spare", like))
        return mask

    def _side(self, lane: str, kind: str, like: Tensor) -> Tensor:
        total = self.sums.get((lane, kind))
        size = (like.shape[-2], like.shape[-1])
        if total is None:
            return torch.zeros(len(like), 1, *size, dtype=torch.bool, device=like.device)
        return binary(total.float(), size, self.threshold, pool=kind == "words")


def binary(total: Tensor, size: tuple[int, int], threshold: float, *, pool: bool = True) -> Tensor:
    """Summed maps [image, h, w] -> where they exceed the threshold's share of their maximum: [image, 1, *size]."""
    total = total[:, None]
    if pool:
        total = F.max_pool2d(total, 3, 1, 1)
    total = F.interpolate(total, size=size, mode="nearest")
    return total > threshold * total.amax((-2, -1), keepdim=True)


def _over_words(maps: Tensor, places: Sequence[Sequence[int]]) -> Tensor:
    """[image, head, pixel, position] -> [image, pixel]: the mean over heads of the sum over an image's words.

    In float32: in half precision the sums of a run are off by some hundredths, cell by cell, beside one threshold.
    """
    each = [
        maps[i][..., list(places[min(i, len(places) - 1)])].float().sum(-1).mean(0) for i in range(len(maps))
    ]
    return torch.stack(each).detach()
