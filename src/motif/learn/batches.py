"""What a training step sees: photos and prior pictures as latents, masks and text, and the loss on them.

    L = w_t mean_i Σ m (ε − ε̂)² / (C Σ m)  +  w_p mean_j (ε − ε̂)²        (photos i, prior pictures j; card 1.6)

Everything a step draws comes from (seed, step). Latents of whole pictures and the text of prior captions are computed
once; equal captions of a batch are encoded once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from motif.attention import Call, Control, Row, Site
from motif.base import Base
from motif.learn.augment import Placement, Resizing, place, valid
from motif.learn.examples import Examples
from motif.learn.prior import Prior
from motif.text import Text

if TYPE_CHECKING:
    from PIL.Image import Image


@dataclass(frozen=True)
class Recipe:
    """What differs between the three published codes (card 1.9)."""

    resizing: Resizing
    crop: bool  # centre square crop of the photos; else they are squashed
    border: bool  # the mask of a whole picture loses a cell all around
    target_weight: float  # of the photos' term against the prior's, per element
    max_norm: float | None


class StartDetached(Control):
    """No gradient through the first token's keys and values: k ← [stop(k₁), k₂...] (appendix; card 1.2)."""

    def keyvalue(self, site: Site, call: Call, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        if site.kind != "cross":
            return k, v
        return torch.cat([k[:, :1].detach(), k[:, 1:]], 1), torch.cat([v[:, :1].detach(), v[:, 1:]], 1)


@dataclass(frozen=True, eq=False)
class Latents:
    """A picture's VAE posterior, computed once: a draw is mean + std z."""

    mean: Tensor  # [c, h, w]
    std: Tensor


class Batches:
    """The loss of a step: which photos, how resized, which prior pictures; all drawn from (seed, step)."""

    def __init__(
        self,
        base: Base,
        examples: Examples,
        prior: Prior,
        recipe: Recipe,
        batch_size: int,
        seed: int,
        *,
        augment: bool,
    ) -> None:
        self.recipe, self.batch_size, self.seed, self.augment = recipe, batch_size, seed, augment
        side = base.size
        self.photos = [_fitted(photo.image, side, crop=recipe.crop) for photo in examples.photos]
        self.captions = [photo.caption for photo in examples.photos]
        self.prior_captions = prior.captions
        self.prior_latents = [
            _posteriors(
                base, [np.asarray(image, dtype=np.float32) / 127.5 - 1 for image in prior.images], flip=flip
            )
            for flip in (False, True)
        ]
        self.photo_latents: dict[tuple[int, bool], Latents] = {}
        captions = sorted(set(prior.captions))
        with torch.no_grad():
            read = [base.read(captions[i : i + 64]) for i in range(0, len(captions), 64)]
        self.prior_texts = _rows(read, captions)

    def loss(self, dressed: Base, step: int, prior_weight: float) -> Tensor:
        """C · mean_i Σ m e² / (C Σ m): photos and prior averaged together ([CV]), or weighed as the recipe says."""
        rng = np.random.default_rng((self.seed, step))
        noise = torch.Generator().manual_seed(int(rng.integers(2**62)))
        n, count = self.batch_size, len(self.prior_captions)
        photos = rng.choice(len(self.photos), n, replace=n > len(self.photos))
        priors = rng.choice(count, n, replace=n > count) if count else np.zeros(0, dtype=int)
        views = [self._view(dressed, int(i), rng) for i in photos]
        flips = rng.random(len(priors)) < 0.5
        latents = [view[0] for view in views] + [
            self.prior_latents[int(flip)][int(i)] for i, flip in zip(priors, flips, strict=True)
        ]
        x0 = torch.stack(
            [p.mean + p.std * torch.randn(p.mean.shape, generator=noise).to(p.mean) for p in latents]
        )
        x0 = x0 * dressed.models.vae.config.scaling_factor
        eps = torch.randn(x0.shape, generator=noise).to(x0)
        t = torch.randint(0, dressed.schedule.length, (len(x0),), generator=noise)
        text = dressed.read(unique := list(dict.fromkeys(view[2] for view in views)))
        states, pooled = self._states(
            text, [unique.index(view[2]) for view in views], [int(i) for i in priors]
        )
        rows = (Row("main", "cond", slice(0, len(x0)), text),)
        call = Call(rows, step, step + 1, 0.0, (x0.shape[-2], x0.shape[-1]), (StartDetached(),))
        x_t = dressed.schedule.noise(x0, eps, t)
        out = dressed.predict(x_t, t.to(x_t.device), states, pooled, call)
        mask = torch.stack([torch.from_numpy(view[1]) for view in views]).to(x0)[:, None]
        error = (out.float() - dressed.schedule.target(x0, eps, t)).square()
        target = (error[:n] * mask).sum((1, 2, 3)) / mask.sum((1, 2, 3)) / x0.shape[1]
        if not count:
            return self.recipe.target_weight * target.mean()
        return self.recipe.target_weight * target.mean() + prior_weight * error[n:].mean()

    def _view(self, base: Base, index: int, rng: np.random.Generator) -> tuple[Latents, np.ndarray, str]:
        """One photo as the step sees it: its latents, the mask of valid cells, its caption."""
        recipe, side = self.recipe, base.size
        placement = (
            recipe.resizing.draw(side, rng)
            if self.augment
            else Placement(side, flip=bool(rng.random() < 0.5))
        )
        mask = valid(placement, side, base.latent_factor, border=recipe.border)
        caption = placement.prefix + self.captions[index]
        key = index, placement.flip
        if placement.whole(side) and key in self.photo_latents:
            return self.photo_latents[key], mask, caption
        latents = _posteriors(base, [place(self.photos[index], placement, side)])[0]
        if placement.whole(side):
            self.photo_latents[key] = latents
        return latents, mask, caption

    def _states(self, text: Text, photos: list[int], priors: list[int]) -> tuple[Tensor, Tensor | None]:
        """What cross-attention reads for every row: photos first, then the prior."""
        kept = [self.prior_texts[self.prior_captions[i]] for i in priors]
        states = torch.cat([text.states[photos], *(state[None] for state, _ in kept)])
        if text.pooled is None:
            return states, None
        return states, torch.cat(
            [text.pooled[photos], *(pooled[None] for _, pooled in kept if pooled is not None)]
        )


def _fitted(photo: Image, side: int, *, crop: bool) -> Image:
    """The largest centred square of a photo, or the whole squashed; augmentation resizes it from here."""
    from PIL import ImageOps

    edge = max(side, min(photo.size))
    return ImageOps.fit(photo, (edge, edge)) if crop else photo.resize((edge, edge))


@torch.no_grad()
def _posteriors(base: Base, pictures: Sequence[np.ndarray], *, flip: bool = False) -> list[Latents]:
    """The VAE's posterior of pictures [side, side, 3] in [-1, 1]."""
    found: list[Latents] = []
    for i in range(0, len(pictures), 16):
        batch = torch.stack([torch.from_numpy(p.transpose(2, 0, 1).copy()) for p in pictures[i : i + 16]])
        batch = batch.flip(-1) if flip else batch
        with torch.autocast(base.device.type, enabled=False):
            posterior = base.models.vae.encode(batch.to(base.device, base.models.vae.dtype)).latent_dist
        found += [Latents(mean, std) for mean, std in zip(posterior.mean, posterior.std, strict=True)]
    return found


def _rows(texts: Sequence[Text], captions: Sequence[str]) -> dict[str, tuple[Tensor, Tensor | None]]:
    states = [state for text in texts for state in text.states]
    pooled = [
        row for text in texts for row in (text.pooled if text.pooled is not None else [None] * len(text))
    ]
    return dict(zip(captions, zip(states, pooled, strict=True), strict=True))
