"""pix2pix-zero: move the caption's embedding along an edit direction, and hold the cross maps to the reference's.

    e = mean text states of the target's captions − mean of the source's;     the edit reads c + e
    x ← x − γ ∇_x Σ_layers mean_{side, head} Σ (A − A_ref)²      before each step, A_ref of the reconstruction

Parmar et al. 2023 (arXiv 2302.03027); card 11. The caption itself stands at the unconditional side, so that a zero
direction is the reconstruction. Where the inversion is plain DDIM, its trajectory is climbed again with regularised
noise (`noise_statistics`). Ours: reference and edit walk side by side, so that no step's maps are stored; every photo
has a gradient of its own.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import torch
from torch import Tensor

from motif.attention import Call, Control, Row, Site
from motif.base import Base
from motif.climb import climb
from motif.edit.edited import Edited
from motif.edit.noise_statistics import output_of, regularised
from motif.edit.run import photos_of, targets_of, told
from motif.errors import InputError, require_heard
from motif.images import to_images
from motif.inversion import Inversion
from motif.local import hearing
from motif.progress import Progress, Ticker
from motif.replay import SOURCE, Pinned
from motif.schedule import CLEAN
from motif.text import Text

log = logging.getLogger("motif")

AMOUNTS = (0.1, 0.01)
"""The paper's, and what v-prediction bears."""

FREE = ("ddim", "negative-prompt", "direct")
"""Inversions whose unconditional side may be the caption."""


def pix2pix_zero(
    base: Base,
    inversion: Inversion,
    prompt: str,
    *,
    source_captions: Sequence[str] = (),
    target_captions: Sequence[str] = (),
    amount: float | None = None,
    guidance: float | None = None,
    regularise: int | None = None,
    ac_weight: float = 20.0,
    kl_weight: float = 20.0,
    seed: int = 0,
    on_progress: Callable[[Progress], None] | None = None,
) -> Edited:
    """Edit a photo along a direction between two sets of captions, its cross-attention held to the source's.

    Args:
        source_captions: What the source's captions say (many sentences with "cat"); without, the inversion's own.
        target_captions: What the target's captions say (the same with "dog"); without, PROMPT alone. With them, PROMPT
            only names the edit.
        amount: Size of the step that holds the cross maps; 0 is none. The default is the paper's .1, and .01 for
            v-prediction, where more makes the loss explode.
        guidance: Guidance scale; the default is the inversion's (paper: 5).
        regularise: Rounds of noise regularisation on the way up, which is walked again; 0 takes the inversion's own
            trajectory. The default is 5 (the paper's) for a ddim inversion and 0 for others.
        ac_weight: Of the noise's autocorrelation.
        kl_weight: Of the noise's divergence from a normal distribution.
        seed: Of the regularisation's random shifts.
    Raises:
        InputError: one set of captions without the other; an inversion with an unconditional side of its own; a learned
            word that PROMPT names and no target caption holds.
    """
    settings = told(locals())
    (target,) = targets_of(base, inversion, prompt)
    rounds = (5 if inversion.method == "ddim" else 0) if regularise is None else regularise
    if not rounds:
        require_heard(pix2pix_zero, settings, ["ac_weight", "kl_weight", "seed"], "no noise is regularised")
    if amount is None:
        amount = AMOUNTS[base.schedule.prediction == "v_prediction"]
    settings["amount"] = amount
    _check(inversion, source_captions, target_captions, amount, rounds)
    _require_said(base, target, target_captions)
    lanes = inversion.lanes(base, guidance=guidance)
    caption = lanes[0].text
    with torch.no_grad():
        shift = _direction(base, caption, target, source_captions, target_captions)
    edited = _moved(caption, shift)
    if not target_captions:  # then it says what the target does, word for word
        edited = dataclasses.replace(edited, tokens=tuple(base.tokenise([target])[0]))
    ticker = Ticker(on_progress, inversion.steps * (2 if rounds else 1))
    with torch.no_grad():
        trajectory = inversion.latents.to(base.device)
        if rounds:
            draw = torch.Generator().manual_seed(seed)
            trajectory = _climbed(base, trajectory, caption, draw, (rounds, ac_weight, kl_weight), ticker)
    pin = Pinned(trajectory, **inversion.replays["pinned"]) if "pinned" in inversion.replays else None
    walk = _Walk(base, caption, edited, lanes[0].guidance, amount, inversion.steps)
    x, reference = walk.down(trajectory[-1], pin, ticker)
    x = torch.where(
        _moves(shift, len(x)).to(x.device), x, reference
    )  # a pinned reference leaves the free edit behind
    spent = walk.evaluations + (inversion.steps * len(inversion) if rounds else 0)
    back = to_images(base.decode(reference))
    return Edited(
        "pix2pix-zero", (target,), tuple(to_images(base.decode(x))), x[None], sources=photos_of(inversion),
        reconstructions=tuple(back), settings=settings, evaluations=spent, seconds=ticker.seconds,
    )  # fmt: skip


def _check(
    inversion: Inversion, before: Sequence[str], after: Sequence[str], amount: float, rounds: int
) -> None:
    if bool(before) != bool(after):
        raise InputError("an edit direction needs both sets of captions, or neither: source and target")
    if inversion.method not in FREE:
        made = "a drawn seed has no trajectory, nor one" if inversion.method == "seed" else (
            f"a {inversion.method} inversion was made for another guidance, and not one"
        )  # fmt: skip
        raise InputError(
            f"pix2pix-zero guides away from the caption itself, and {made} to be walked again: "
            f"invert a photo with {', '.join(FREE)}"
        )
    if (inversion.method == "ddim" and any(inversion.against)) or inversion.made.settings.get("interpolate"):
        raise InputError(
            f"pix2pix-zero guides away from the caption itself, and this {inversion.method} inversion leads away "
            "from something else, which nobody would hear: invert without negative or interpolate"
        )
    if rounds and inversion.method != "ddim":
        raise InputError(
            f"regularised noise makes a trajectory of its own, and would leave the {inversion.method} inversion's: "
            "invert with ddim, or regularise=0"
        )
    if amount < 0 or rounds < 0:
        raise InputError(f"amount {amount:g}, regularise {rounds}: none may be negative")


def _require_said(base: Base, target: str, captions: Sequence[str]) -> None:
    """InputError for a learned word that the target names and no caption of its bank; a warning where patches of an
    encoded one would be silent: a direction has no place where they could listen."""
    if not captions:
        return
    named, *others = (
        {token for _, token, _ in tokens.splices} for tokens in base.tokenise([target, *captions])[0]
    )
    said = set[str]().union(*others)
    if missing := named - said:
        raise InputError(
            f"PROMPT only names the edit where captions are given, and {min(missing)} is in none of the target's: "
            "write it there"
        )
    if deaf := said & base.local.keys():
        log.warning("%s: its word moves the caption, its patches are not heard beside a direction", min(deaf))


def _direction(
    base: Base, caption: Text, target: str, before: Sequence[str], after: Sequence[str]
) -> tuple[Tensor, Tensor | None]:
    """(e [image or 1, word, channel], the pooled vectors' difference or None)."""
    s0, p0 = _mean(base, before) if before else (caption.states, caption.pooled)
    s1, p1 = _mean(base, after or (target,))
    return s1 - s0, None if p0 is None or p1 is None else p1 - p0


def _moves(shift: tuple[Tensor, Tensor | None], count: int) -> Tensor:
    """Whether the direction is any, for each of so many images: [image, 1, 1, 1]."""
    there = [part.flatten(1).any(1) for part in shift if part is not None]
    return torch.stack([part.expand(count) for part in there]).any(0).view(-1, 1, 1, 1)


def _mean(base: Base, captions: Sequence[str], *, batch: int = 32) -> tuple[Tensor, Tensor | None]:
    texts = [base.read(captions[i : i + batch]) for i in range(0, len(captions), batch)]
    states = torch.cat([text.states.float() for text in texts]).mean(0, keepdim=True)
    pooled = [text.pooled.float() for text in texts if text.pooled is not None]
    return states, torch.cat(pooled).mean(0, keepdim=True) if pooled else None


def _moved(text: Text, shift: tuple[Tensor, Tensor | None]) -> Text:
    states, pooled = shift
    moved = None if text.pooled is None or pooled is None else text.pooled + pooled.to(text.pooled)
    return dataclasses.replace(text, states=text.states + states.to(text.states), pooled=moved)


def _climbed(
    base: Base,
    levels: Tensor,
    caption: Text,
    draw: torch.Generator,
    weights: tuple[int, float, float],
    ticker: Ticker,
) -> Tensor:
    """The trajectory up with regularised noise: [level, image, c, h, w]."""
    steps, (rounds, ac, kl) = len(levels) - 1, weights
    times = [CLEAN, *reversed(base.schedule.timesteps(steps))]
    at = dict(zip(times[1:], times, strict=False))  # the level that the latents have, by the step's label

    def change(t: int, x: Tensor, out: Tensor) -> Tensor:
        _, eps = base.schedule.split(x, out, at[t])
        return output_of(base.schedule, x, regularised(eps, draw, rounds=rounds, ac=ac, kl=kl), at[t])

    found = [levels[0]]
    for _, x in climb(base, levels[0], caption, steps=steps, change=change):
        found.append(x)
        ticker.tick()
    return torch.stack(found)


class Held(Control):
    """Keeps the cross maps of one pass, or adds up how far another's are from them."""

    def __init__(self) -> None:
        self.kept: dict[str, Tensor] = {}
        self.keeping = True
        self.loss: Tensor | None = None

    def looks(self, site: Site, call: Call) -> bool:
        return site.kind == "cross"

    def maps(self, site: Site, call: Call, maps: Tensor) -> Tensor:
        if self.keeping:
            self.kept[site.name] = maps.detach()
            return maps
        reference = self.kept[site.name]  # [image, head, pixel, word], of both sides of guidance
        both = reference.repeat(len(maps) // len(reference), 1, 1, 1)
        far = (maps.float() - both.float()).square().sum((-2, -1))  # [side x image, head]
        term = far.sum() * (len(reference) / len(maps) / maps.shape[1])
        self.loss = term if self.loss is None else self.loss + term
        return maps


@dataclass(eq=False)
class _Walk:
    """Reference and edit, side by side down the schedule."""

    base: Base
    caption: Text
    edited: Text
    guidance: float
    amount: float
    steps: int
    evaluations: int = field(default=0)

    def down(self, start: Tensor, pin: Pinned | None, ticker: Ticker) -> tuple[Tensor, Tensor]:
        """(the edit's last latents, the reference's)."""
        times = [*self.base.schedule.timesteps(self.steps), CLEAN]
        x = reference = start
        for step, (t, s) in enumerate(pairwise(times)):
            held = Held()
            with torch.no_grad():
                out = self._predict(reference, [("source", self.caption)], step, t, held)
                reference = self.base.schedule.move(reference, out, t, s)
            x = self._step(x, held, step, t, s)
            if pin:
                call = Call((), step, self.steps, t, (x.shape[-2], x.shape[-1]))
                lanes = pin.after(call, {SOURCE: reference, "target": x})
                reference, x = lanes[SOURCE], lanes["target"]
            ticker.tick()
        return x, reference

    def _step(self, x: Tensor, held: Held, step: int, t: int, s: int) -> Tensor:
        rows = [("target-uncond", self.caption), ("target", self.edited)]
        both = torch.cat([x, x])
        if self.amount:
            held.keeping = False
            with torch.enable_grad():
                both = both.detach().requires_grad_(True)
                self._predict(both, rows, step, t, held)
                assert held.loss is not None
                (slope,) = torch.autograd.grad(held.loss, both)
            both = (both - self.amount * slope).detach()
        with torch.no_grad():
            uncond, cond = self._predict(both, rows, step, t, None).chunk(2)
            guided = uncond + self.guidance * (cond - uncond)
            return self.base.schedule.move(both[: len(x)], guided, t, s)

    def _predict(
        self, x: Tensor, rows: list[tuple[str, Text]], step: int, t: int, held: Held | None
    ) -> Tensor:
        images = len(x) // len(rows)
        named = tuple(
            Row(lane, "cond", slice(i * images, (i + 1) * images), text)
            for i, (lane, text) in enumerate(rows)
        )
        states = torch.cat([text.states.expand(images, -1, -1) for _, text in rows])
        pooled = [text.pooled.expand(images, -1) for _, text in rows if text.pooled is not None]
        size = (x.shape[-2], x.shape[-1])
        call = Call(named, step, self.steps, t, size, hearing(self.base, (held,) if held else ()))
        self.evaluations += len(x)
        dtype = self.base.dtype
        return self.base.predict(x.to(dtype), t, states, torch.cat(pooled) if pooled else None, call).to(
            x.dtype
        )
