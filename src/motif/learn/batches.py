"""What a training step sees: photos and prior pictures as latents, masks and text, and the loss on them.

    L = w_t mean_i Σ m (ε − ε̂)² / (C Σ m)  +  w_p mean_j (ε − ε̂)²        (photos i, prior pictures j; card 1.6)

Everything a step draws comes from (seed, step). Latents of whole pictures and the text of prior captions are computed
once; equal captions of a batch are encoded once.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
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
    def all(
        base: Base,
        examples: Examples,
        recipe: Recipe,
        side: int,
        *,
        masked: bool,
        captions: Sequence[str] = (),
    ) -> tuple[Shown, ...]:
        """The photos, each opened once. InputError where a mask marks nothing of what is learned.

        Args:
            side: Of the square pictures to train on, in pixels.
            masked: Where a photo has a mask, only its subject counts.
            captions: Of each photo; the default is its own.
        """
        found, unused, bare = list[Shown](), False, list[str]()
        texts = captions or [photo.caption for photo in examples.photos]
        for photo, caption in zip(examples.photos, texts, strict=True):
            picture = photo.picture
            image = fitted(picture.image, side, crop=recipe.crop, bilinear=recipe.bilinear)
            mask = fitted(picture.mask, side, crop=recipe.crop) if masked and picture.mask else None
            if not valid(Placement(side), side, base.latent_factor, border=recipe.border, mask=mask).any():
                raise InputError(
                    f"{photo.path}: its mask marks nothing in the square that is learned: crop the photo around its "
                    "subject, or learn whole photos (--no-masked)"
                )
            found.append(Shown(image, mask, caption))
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


@dataclass(frozen=True, eq=False)
class Group:
    """One concept's share of a step: its photos, and its prior."""

    photos: tuple[Shown, ...]
    prior: Prior


@dataclass(frozen=True, eq=False)
class Share:
    """What a step draws of one group."""

    views: list[tuple[int, Placement]]  # photos as placed
    captions: list[str]
    cells: list[np.ndarray]  # what counts of them
    priors: list[int]
    flips: np.ndarray


class Batches:
    """The loss of a step: which photos, how resized, which prior pictures; all drawn from (seed, step)."""

    def __init__(
        self,
        base: Base,
        groups: Sequence[Group],
        recipe: Recipe,
        *,
        batch_size: int,
        seed: int,
        side: int,
        augment: bool,
        original: Base | None = None,
        reads: bool = False,
    ) -> None:
        """Everything that does not change over the run is computed here: the prior's latents, both ways round, and the
        text of its captions.

        Args:
            groups: One per concept.
            batch_size: Photos of each group in a step, and as many of its prior.
            side: Of the square pictures to train on, in pixels.
            original: Who answers for a prior without pictures; the default is the base.
            reads: The text encoders learn too: the prior's captions are read anew in every step.
        """
        self.groups, self.recipe, self.factor = tuple(groups), recipe, base.latent_factor
        self.batch_size, self.seed, self.side, self.augment = batch_size, seed, side, augment
        self.original, self.reads = original or base, reads
        self.priors = [
            [
                _both_ways(base, lambda how, image=image: place(image, how, side), side)
                for image in group.prior.images
            ]
            for group in self.groups
        ]
        self.wholes = [
            [
                _both_ways(base, lambda how, photo=photo: self._canvas(photo, how), side)
                for photo in group.photos
            ]
            for group in self.groups
        ]
        captions = sorted({caption for group in self.groups for caption in group.prior.captions})
        with torch.no_grad():
            read = [base.read(captions[i : i + batch_size]) for i in range(0, len(captions), batch_size)]
        self.prior_texts = _rows(read, captions)

    def loss(self, dressed: Base, step: int, prior_weight: float) -> Tensor:
        """w_t mean_i Σ m e² / (C Σ m) + w_p mean_j e², with e the error of the prediction."""
        rng = np.random.default_rng((self.seed, step))
        noise = torch.Generator().manual_seed(int(rng.integers(2**62)))
        shares = [self._share(group, rng) for group in self.groups]
        drawn = list(zip(self.groups, shares, strict=True))
        captions = [caption for share in shares for caption in share.captions]
        seen, asked = ([g.prior.captions[i] for g, s in drawn if g.prior.pictured == kind for i in s.priors]
                       for kind in (True, False))  # fmt: skip
        latents = [one for k, share in enumerate(shares) for one in self._encoded(dressed, k, share.views)]
        latents += [
            self.priors[k][i][int(flip)]
            for k, share in enumerate(shares) if self.priors[k]
            for i, flip in zip(share.priors, share.flips, strict=True)
        ]  # fmt: skip
        x0 = torch.stack(
            [p.mean + p.std * torch.randn(p.mean.shape, generator=noise).to(p.mean) for p in latents]
        )
        eps = torch.randn(x0.shape, generator=noise).to(x0)
        t = torch.randint(0, dressed.schedule.length, (len(x0),), generator=noise)
        x_t, target = dressed.schedule.noise(x0, eps, t), dressed.schedule.target(x0, eps, t)
        text, states, pooled = self._states(dressed, captions, [*seen, *asked])
        if asked:  # the base's own answer, at the noisy latents of the photos beside them
            n = self.batch_size
            rows = [
                k * n + i
                for k, (g, s) in enumerate(drawn)
                if not g.prior.pictured
                for i in range(len(s.priors))
            ]
            x_t, t = torch.cat([x_t, x_t[rows]]), torch.cat([t, t[rows]])
            target = torch.cat([target, self._answers(x_t[-len(rows) :], t[-len(rows) :], asked)])
        row = (Row("main", "cond", slice(0, len(x_t)), text),)
        controls = (StartDetached(),) if self.recipe.detached else ()
        call = Call(row, step, step + 1, 0.0, (x_t.shape[-2], x_t.shape[-1]), controls)
        out = dressed.predict(x_t.to(dressed.dtype), t.to(x_t.device), states, pooled, call)
        error, n = (out.float() - target).square(), len(captions)
        cells = [one for share in shares for one in share.cells]
        mask = torch.from_numpy(np.stack(cells)).to(error)[:, None]
        photos = (error[:n] * mask).sum((1, 2, 3)) / mask.sum((1, 2, 3)) / error.shape[1]
        kept = prior_weight * error[n:].mean() if len(error) > n else 0.0
        return self.recipe.target_weight * photos.mean() + kept

    def _share(self, group: Group, rng: np.random.Generator) -> Share:
        """Which photos of a group a step shows and how, and which of its prior."""
        n, count = self.batch_size, len(group.prior)
        photos = [int(i) for i in rng.choice(len(group.photos), n, replace=n > len(group.photos))]
        priors = [int(i) for i in rng.choice(count, n, replace=n > count)] if count else []
        looks = [self._look(group.photos[i], rng) for i in photos]
        views = [(i, how) for i, (how, _) in zip(photos, looks, strict=True)]
        captions = [how.prefix + group.photos[i].caption for i, how in views]
        return Share(views, captions, [cells for _, cells in looks], priors, rng.random(len(priors)) < 0.5)

    def _answers(self, x_t: Tensor, t: Tensor, captions: Sequence[str]) -> Tensor:
        """What the base said before to those captions."""
        kept = [self.prior_texts[caption] for caption in captions]
        states, pooled = (
            torch.stack([state for state, _ in kept]),
            [one for _, one in kept if one is not None],
        )
        with torch.no_grad():
            x = x_t.to(self.original.dtype)
            out = self.original.predict(
                x, t.to(x.device), states, torch.stack(pooled) if pooled else None, None
            )
        return out.float()

    def _look(self, photo: Shown, rng: np.random.Generator) -> tuple[Placement, np.ndarray]:
        """How a step sees one photo, and the latent cells of it that count."""
        return look(
            self.recipe.resizing, self.side, self.factor, rng,
            augment=self.augment, border=self.recipe.border, mask=photo.mask,
        )  # fmt: skip

    def _canvas(self, photo: Shown, how: Placement) -> np.ndarray:
        return place(photo.image, how, self.side, bilinear=self.recipe.bilinear)

    def _encoded(self, base: Base, k: int, views: Sequence[tuple[int, Placement]]) -> list[Latents]:
        """The latents of a group's photos as placed: those of whole photos are there, the others go through the VAE."""
        found = {(i, how): self.wholes[k][i][int(how.flip)] for i, how in views if how.whole(self.side)}
        fresh = [view for view in dict.fromkeys(views) if view not in found]
        if fresh:
            photos = self.groups[k].photos
            canvases = [self._canvas(photos[i], how) for i, how in fresh]
            found |= zip(fresh, _posteriors(base, canvases), strict=True)
        return [found[view] for view in views]

    def _states(
        self, dressed: Base, captions: Sequence[str], priors: Sequence[str]
    ) -> tuple[Text, Tensor, Tensor | None]:
        """What cross-attention reads for every row: photos first, then the prior."""
        every = [*captions, *(priors if self.reads else ())]
        text = dressed.read(unique := list(dict.fromkeys(every)))
        rows = [unique.index(caption) for caption in every]
        kept = [] if self.reads else [self.prior_texts[caption] for caption in priors]
        states = torch.cat([text.states[rows], *(state[None] for state, _ in kept)])
        if text.pooled is None:
            return text, states, None
        pooled = [one[None] for _, one in kept if one is not None]
        return text, states, torch.cat([text.pooled[rows], *pooled])


def _both_ways(base: Base, canvas: Callable[[Placement], np.ndarray], side: int) -> list[Latents]:
    """A whole picture's latents, and its mirror image's."""
    return _posteriors(base, [canvas(Placement(side, flip=flip)) for flip in (False, True)])


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
