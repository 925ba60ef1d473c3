"""What a training step sees: photos and prior pictures as latents, masks and text, and the loss on them.

    L = w_t mean_i Σ m (ε − ε̂)² / (C Σ m)  +  w_p mean_j (ε − ε̂)²        (photos i, prior pictures j; card 1.6)

Everything a step draws comes from (seed, step). Latents of whole pictures and the text of prior captions are computed
once; equal captions of a batch are encoded once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from motif.attention import Call, Control, Row, Site
from motif.base import Base
from motif.learn.augment import Placement, look, place
from motif.learn.prior import Prior
from motif.learn.recipes import Recipe
from motif.learn.shown import Shown
from motif.learn.snr import min_snr
from motif.text import Text


class StartDetached(Control):
    """No gradient through the first token's keys and values: k ← [stop(k₁), k₂...] (appendix; card 1.2)."""

    def keyvalue(self, site: Site, call: Call, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        if site.kind != "cross":
            return k, v
        return torch.cat([k[:, :1].detach(), k[:, 1:]], 1), torch.cat([v[:, :1].detach(), v[:, 1:]], 1)


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
class Drawn:
    """Everything that a step draws: its photos, then the pictures of its prior, then what the base is asked."""

    photos: list[tuple[int, int, Placement]]  # (group, photo, how it is placed)
    captions: list[str]
    cells: list[np.ndarray]  # what counts of each photo
    priors: list[tuple[int, int, bool]]  # (group, picture, mirrored)
    asked: list[tuple[int, str]]  # (photo, what the base is asked at its noisy latents)
    z: Tensor  # of the posterior, of photos and pictures
    eps: Tensor
    t: Tensor


ALL = slice(None)


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
        min_snr: float = 0.0,
    ) -> None:
        """Everything that does not change over the run is computed here: the prior's latents, both ways round, and the
        text of its captions.

        Args:
            groups: One per concept.
            batch_size: Photos of each group in a step, and as many of its prior.
            side: Of the square pictures to train on, in pixels.
            original: Who answers for a prior without pictures; the default is the base.
            reads: The text encoders learn too: the prior's captions are read anew in every step.
            min_snr: γ of min-SNR; 0 weighs all timesteps alike.
        """
        self.groups, self.recipe, self.factor = tuple(groups), recipe, base.latent_factor
        self.batch_size, self.seed, self.side, self.augment = batch_size, seed, side, augment
        self.original, self.reads, self.min_snr = original or base, reads, min_snr
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

    def loss(self, dressed: Base, step: int, prior_weight: float, part: slice = ALL) -> Tensor:
        """w_t mean_i Σ m e² / (C Σ m) + w_p mean_j e², with e the error of the prediction.

        Args:
            part: The photos and the prior's pictures that count here; the losses of all parts add up to the whole.
        """
        drawn = self._drawn(dressed, step)
        n, every = len(drawn.photos), len(drawn.z)
        photos, priors = range(n)[part], range(n, every)[part]
        rows = [*photos, *priors]
        latents = self._encoded(dressed, [drawn.photos[row] for row in photos])
        latents += [self.priors[k][i][int(flip)] for k, i, flip in (drawn.priors[row - n] for row in priors)]
        mean, std = torch.stack([p.mean for p in latents]), torch.stack([p.std for p in latents])
        x0, eps, t = mean + std * drawn.z[rows].to(mean), drawn.eps[rows].to(mean), drawn.t[rows]
        x_t, target = dressed.schedule.noise(x0, eps, t), dressed.schedule.target(x0, eps, t)
        told = [self.groups[k].prior.captions[i] for k, i, _ in (drawn.priors[row - n] for row in priors)]
        asked = [(photos.index(row), caption) for row, caption in drawn.asked if row in photos]
        if asked:  # the base's own answer, at the noisy latents of the photos beside them
            beside, captions = [i for i, _ in asked], [caption for _, caption in asked]
            x_t, t, told = torch.cat([x_t, x_t[beside]]), torch.cat([t, t[beside]]), [*told, *captions]
            target = torch.cat([target, self._answers(x_t[-len(asked) :], t[-len(asked) :], captions)])
        text, states, pooled = self._states(dressed, [drawn.captions[row] for row in photos], told)
        row = (Row("main", "cond", slice(0, len(x_t)), text),)
        controls = (StartDetached(),) if self.recipe.detached else ()
        call = Call(row, step, step + 1, 0.0, (x_t.shape[-2], x_t.shape[-1]), controls)
        out = dressed.predict(x_t.to(dressed.dtype), t.to(x_t.device), states, pooled, call)
        error, own = (out.float() - target).square(), len(photos)
        if self.min_snr:
            error = error * min_snr(dressed.schedule, t, self.min_snr).to(error).view(-1, 1, 1, 1)
        mask = torch.from_numpy(np.stack([drawn.cells[row] for row in photos])).to(error)[:, None]
        each = (error[:own] * mask).sum((1, 2, 3)) / mask.sum((1, 2, 3)) / error.shape[1]
        kept = error[own:].mean((1, 2, 3)).sum() / (every - n + len(drawn.asked)) if len(error) > own else 0.0
        return self.recipe.target_weight * each.sum() / n + prior_weight * kept

    def _drawn(self, base: Base, step: int) -> Drawn:
        """What a step draws; first which pictures of each group, then the noise of all."""
        rng = np.random.default_rng((self.seed, step))
        noise = torch.Generator().manual_seed(int(rng.integers(2**62)))
        photos, priors = list[tuple[int, int, Placement]](), list[tuple[int, int, bool]]()
        captions, cells, asked = list[str](), list[np.ndarray](), list[tuple[int, str]]()
        for k, group in enumerate(self.groups):
            n, count, first = self.batch_size, len(group.prior), len(photos)
            chosen = [int(i) for i in rng.choice(len(group.photos), n, replace=n > len(group.photos))]
            beside = [int(i) for i in rng.choice(count, n, replace=n > count)] if count else []
            for i in chosen:
                how, counts = self._look(group.photos[i], rng)
                photos.append((k, i, how))
                captions.append(how.prefix + group.photos[i].caption)
                cells.append(counts)
            flips = rng.random(len(beside)) < 0.5
            if group.prior.pictured:
                priors += [(k, i, bool(flip)) for i, flip in zip(beside, flips, strict=True)]
            else:
                asked += [(first + row, group.prior.captions[i]) for row, i in enumerate(beside)]
        shape = base.latent_shape((self.side, self.side))
        z = torch.stack([torch.randn(shape, generator=noise) for _ in (*photos, *priors)])
        eps = torch.randn(z.shape, generator=noise)
        t = torch.randint(0, base.schedule.length, (len(z),), generator=noise)
        return Drawn(photos, captions, cells, priors, asked, z, eps, t)

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

    def _encoded(self, base: Base, views: Sequence[tuple[int, int, Placement]]) -> list[Latents]:
        """The latents of photos as placed: those of whole photos are there, the others go through the VAE."""
        found = {v: self.wholes[v[0]][v[1]][int(v[2].flip)] for v in views if v[2].whole(self.side)}
        fresh = [view for view in dict.fromkeys(views) if view not in found]
        if fresh:
            canvases = [self._canvas(self.groups[k].photos[i], how) for k, i, how in fresh]
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
