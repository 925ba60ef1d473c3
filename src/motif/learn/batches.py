"""What a training step sees: photos and prior pictures as latents, masks and text, and the loss on them.

    L = w_t mean_i Σ m (ε − ε̂)² / (C Σ m)  +  w_p mean_j (ε − ε̂)²        (photos i, prior pictures j; card 1.6)

Everything a step draws comes from (seed, step). Latents of whole pictures and the text of prior captions are computed
once; equal captions of a batch are encoded once.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from motif.attention import Call, Control, Row, Site
from motif.base import Base
from motif.errors import InputError
from motif.learn.augment import Placement, fitted, look, place, valid
from motif.learn.examples import Examples
from motif.learn.prior import Prior
from motif.learn.recipes import Recipe
from motif.text import Text

if TYPE_CHECKING:
    from PIL.Image import Image

log = logging.getLogger("motif")


class StartDetached(Control):
    """No gradient through the first token's keys and values: k ← [stop(k₁), k₂...] (appendix; card 1.2)."""

    def keyvalue(self, site: Site, call: Call, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        if site.kind != "cross":
            return k, v
        return torch.cat([k[:, :1].detach(), k[:, 1:]], 1), torch.cat([v[:, :1].detach(), v[:, 1:]], 1)


@dataclass(frozen=True, eq=False)
class Shown:
    """A photo as a run keeps it: no larger than its largest zoom, with its mask where only the subject is learned."""

    image: Image
    mask: Image | None
    caption: str

    @staticmethod
    def all(base: Base, examples: Examples, recipe: Recipe, side: int, *, masked: bool) -> tuple[Shown, ...]:
        """The photos, each opened once. InputError where a mask marks nothing of what is learned.

        Args:
            side: Of the square pictures to train on, in pixels.
            masked: Where a photo has a mask, only its subject counts.
        """
        found, unused, bare = list[Shown](), False, list[str]()
        for photo in examples.photos:
            picture = photo.picture
            image = fitted(picture.image, side, crop=recipe.crop, bilinear=recipe.bilinear)
            mask = fitted(picture.mask, side, crop=recipe.crop) if masked and picture.mask else None
            if not valid(Placement(side), side, base.latent_factor, border=recipe.border, mask=mask).any():
                raise InputError(
                    f"{photo.path}: its mask marks nothing in the square that is learned: crop the photo around its "
                    "subject, or learn whole photos (--no-masked)"
                )
            found.append(Shown(image, mask, photo.caption))
            unused |= picture.mask is not None and not masked
            bare += [photo.path.name] if masked and mask is None else []
        if bare and len(bare) == len(found):
            raise InputError(
                "masked: no photo has a mask (white is the subject): put NAME-mask.png beside NAME.*, or learn whole "
                "photos (--no-masked)"
            )
        if bare:
            log.warning(
                "%d of %d photos have no mask and are learned whole: %s", len(bare), len(found), bare[0]
            )
        if unused:
            log.info(
                "some photos have masks, and whole photos are learned: --masked learns the subjects alone"
            )
        return tuple(found)


@dataclass(frozen=True, eq=False)
class Latents:
    """A picture's VAE posterior, scaled: a draw is mean + std z."""

    mean: Tensor  # [c, h, w]
    std: Tensor


class Batches:
    """The loss of a step: which photos, how resized, which prior pictures; all drawn from (seed, step)."""

    def __init__(
        self,
        base: Base,
        photos: Sequence[Shown],
        prior: Prior,
        recipe: Recipe,
        *,
        batch_size: int,
        seed: int,
        side: int,
        augment: bool,
    ) -> None:
        """Everything that does not change over the run is computed here: the prior's latents, both ways round, and the
        text of its captions.

        Args:
            side: Of the square pictures to train on, in pixels.
        """
        self.photos, self.factor = tuple(photos), base.latent_factor
        self.recipe, self.batch_size, self.seed, self.side, self.augment = (
            recipe,
            batch_size,
            seed,
            side,
            augment,
        )
        self.prior_captions = prior.captions
        whole = [(Placement(side), Placement(side, flip=True))] * len(prior)
        self.prior_latents = [
            tuple(_posteriors(base, [place(image, one, side) for one in both]))
            for image, both in zip(prior.images, whole, strict=True)
        ]
        self.photo_latents = [
            tuple(_posteriors(base, [self._canvas(i, Placement(side, flip=flip)) for flip in (False, True)]))
            for i in range(len(self.photos))
        ]
        captions = sorted(set(prior.captions))
        with torch.no_grad():
            read = [base.read(captions[i : i + batch_size]) for i in range(0, len(captions), batch_size)]
        self.prior_texts = _rows(read, captions)

    def loss(self, dressed: Base, step: int, prior_weight: float) -> Tensor:
        """w_t mean_i Σ m e² / (C Σ m) + w_p mean_j e², with e the error of the prediction."""
        rng = np.random.default_rng((self.seed, step))
        noise = torch.Generator().manual_seed(int(rng.integers(2**62)))
        n, count = self.batch_size, len(self.prior_captions)
        photos = rng.choice(len(self.photos), n, replace=n > len(self.photos))
        priors = rng.choice(count, n, replace=n > count) if count else np.zeros(0, dtype=int)
        looks = [self._look(int(i), rng) for i in photos]
        views = [(int(i), how) for i, (how, _) in zip(photos, looks, strict=True)]
        captions = [how.prefix + self.photos[i].caption for i, how in views]
        flips = rng.random(len(priors)) < 0.5
        latents = self._encoded(dressed, views)
        latents += [self.prior_latents[int(i)][int(flip)] for i, flip in zip(priors, flips, strict=True)]
        x0 = torch.stack(
            [p.mean + p.std * torch.randn(p.mean.shape, generator=noise).to(p.mean) for p in latents]
        )
        eps = torch.randn(x0.shape, generator=noise).to(x0)
        t = torch.randint(0, dressed.schedule.length, (len(x0),), generator=noise)
        text = dressed.read(unique := list(dict.fromkeys(captions)))
        states, pooled = self._states(
            text, [unique.index(caption) for caption in captions], [int(i) for i in priors]
        )
        rows = (Row("main", "cond", slice(0, len(x0)), text),)
        call = Call(rows, step, step + 1, 0.0, (x0.shape[-2], x0.shape[-1]), (StartDetached(),))
        x_t = dressed.schedule.noise(x0, eps, t)
        out = dressed.predict(x_t.to(dressed.dtype), t.to(x_t.device), states, pooled, call)
        error = (out.float() - dressed.schedule.target(x0, eps, t)).square()
        mask = torch.from_numpy(np.stack([cells for _, cells in looks])).to(x0)[:, None]
        target = (error[:n] * mask).sum((1, 2, 3)) / mask.sum((1, 2, 3)) / x0.shape[1]
        kept = prior_weight * error[n:].mean() if count else 0.0
        return self.recipe.target_weight * target.mean() + kept

    def _look(self, index: int, rng: np.random.Generator) -> tuple[Placement, np.ndarray]:
        """How a step sees one photo, and the latent cells of it that count."""
        return look(
            self.recipe.resizing, self.side, self.factor, rng,
            augment=self.augment, border=self.recipe.border, mask=self.photos[index].mask,
        )  # fmt: skip

    def _canvas(self, index: int, how: Placement) -> np.ndarray:
        return place(self.photos[index].image, how, self.side, bilinear=self.recipe.bilinear)

    def _encoded(self, base: Base, views: Sequence[tuple[int, Placement]]) -> list[Latents]:
        """The latents of photos as placed: those of whole photos are there, the others go through the VAE."""
        found = {(i, how): self.photo_latents[i][int(how.flip)] for i, how in views if how.whole(self.side)}
        fresh = [view for view in dict.fromkeys(views) if view not in found]
        if fresh:
            found |= zip(fresh, _posteriors(base, [self._canvas(*view) for view in fresh]), strict=True)
        return [found[view] for view in views]

    def _states(self, text: Text, photos: list[int], priors: list[int]) -> tuple[Tensor, Tensor | None]:
        """What cross-attention reads for every row: photos first, then the prior."""
        kept = [self.prior_texts[self.prior_captions[i]] for i in priors]
        states = torch.cat([text.states[photos], *(state[None] for state, _ in kept)])
        if text.pooled is None:
            return states, None
        return states, torch.cat(
            [text.pooled[photos], *(pooled[None] for _, pooled in kept if pooled is not None)]
        )


def _posteriors(base: Base, canvases: Sequence[np.ndarray]) -> list[Latents]:
    """The VAE's posterior of pictures [side, side, 3] in [-1, 1], scaled as the UNet wants them, in float32."""
    pixels = torch.stack([torch.from_numpy(canvas.transpose(2, 0, 1).copy()) for canvas in canvases])
    mean, std = base.posterior(pixels)
    return [Latents(*one) for one in zip(mean, std, strict=True)]


def _rows(texts: Sequence[Text], captions: Sequence[str]) -> dict[str, tuple[Tensor, Tensor | None]]:
    states = [state for text in texts for state in text.states]
    pooled = [
        row for text in texts for row in (text.pooled if text.pooled is not None else [None] * len(text))
    ]
    return dict(zip(captions, zip(states, pooled, strict=True), strict=True))
