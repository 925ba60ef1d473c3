"""What a run that starts from an inversion does again, so that its source lane comes back to the photo.

    Pinned      z_src ← Z*[k−1] after every step                                   direct inversion (Ju et al. 2024)
    Proximal    ε = ε_u + w prox_λ(ε_c − ε_u), and a pull towards Z* where that is 0      ProxEdit (Han et al. 2024)
    Values      K from c, V from c ⊙ s_i + b_i (or from c̃_i)         value embedding (StyleDiffusion, Li et al. 2023)
    Caption     K and V from c_i in the photo's lane                                   text-embedding inversion (ibid.)

The `Inversion` names those it needs with their settings, and makes them by `KINDS`. All find lanes by name: the
photo's is "source".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from motif.attention import Call, Control, Side, Site
from motif.errors import InputError
from motif.schedule import CLEAN, Schedule

if TYPE_CHECKING:
    from motif.base import Base
    from motif.inversion import Inversion

SOURCE = "source"

UNGUIDED = (
    "at guidance 1 there is no guidance to threshold: use another inversion than proximal, or more guidance"
)

Threshold = Literal["soft", "hard", "official-l0", "official-l1"]


class Pinned(Control):
    """The source lane is put back on the recorded trajectory after every step.

    Args:
        latents: [level, image, c, h, w].
        every: Only after every so many steps (the paper's ablation; 1 is the method).
        to: The lanes that are moved by the source's offset: itself, or "all" (the paper's "add-source").
    """

    def __init__(self, latents: Tensor, *, every: int = 1, to: Literal["source", "all"] = "source") -> None:
        if every < 1 or to not in ("source", "all"):
            raise InputError(
                f"pinned every {every} steps, to {to!r}: every is 1 or more, to is source or all"
            )
        self.latents, self.every, self.to = latents, every, to

    @staticmethod
    def of(inversion: Inversion, base: Base, **settings: Any) -> Pinned:
        return Pinned(inversion.latents.to(base.device), **settings)

    def reads(self, lane: str, side: Side, step: int, steps: int) -> bool:
        return self.to == "all"  # the others move by the source's own offset

    def after(self, call: Call, latents: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        if SOURCE not in latents or call.step % self.every:
            return latents
        pin = self.latents[call.steps - 1 - call.step].to(latents[SOURCE])
        offset = pin - latents[SOURCE]
        moved = {lane: x + offset if self.to == "all" else x for lane, x in latents.items()}
        return {**moved, SOURCE: pin}


class Proximal(Control):
    """Guidance only where source and target differ enough, and a pull back to the photo elsewhere.

    δ = ε_c − ε_u of every target lane becomes prox_λ(δ). λ is the `quantile` of |δ| of the image's target (over
    "both" its own and the source's row, as the release takes it), or `fixed` in units of ε.

        soft  sign(δ) max(|δ| − λ, 0)     hard  δ 1[|δ| > λ]     edited where |δ| > λ
        official-l0  is soft, and edited where the result exceeds λ again (|δ| > 2λ)
        official-l1  is the release's asymmetric slip: λ is subtracted twice, or once too few

    Below timestep `until` (above, where it is negative) what is not edited is pulled by `pull`: z_{k−1} to Z*[k−1]
    ("inversion"), x̂₀ to the photo ("reconstruction"), "both" or "none". The source lane is not edited anywhere.
    """

    def __init__(
        self,
        latents: Tensor,
        schedule: Schedule,
        *,
        threshold: Threshold = "soft",
        quantile: float = 0.7,
        fixed: float | None = None,
        over: Literal["both", "target"] = "both",
        guide: Literal["inversion", "reconstruction", "both", "none"] = "inversion",
        pull: float = 1.0,
        until: int = 400,
        dilate: int = 1,
    ) -> None:
        self.latents, self.schedule = latents, schedule
        self.threshold: Threshold = threshold
        self.quantile, self.fixed, self.over = quantile, fixed, over
        self.guide, self.pull, self.until, self.dilate = guide, pull, until, dilate
        self.keep: dict[str, Tensor] = {}  # of this step: 1 where a lane is not edited

    @staticmethod
    def of(inversion: Inversion, base: Base, **settings: Any) -> Proximal:
        return Proximal(inversion.latents.to(base.device), base.schedule, **settings)

    def predicted(
        self, call: Call, outputs: Mapping[tuple[str, Side], Tensor]
    ) -> Mapping[tuple[str, Side], Tensor]:
        gaps = {lane: x - outputs[lane, "uncond"] for (lane, side), x in outputs.items()
                if side == "cond" and (lane, "uncond") in outputs}  # fmt: skip
        if not gaps:
            raise InputError(UNGUIDED)
        found, self.keep = dict(outputs), {}
        for lane, gap in gaps.items():
            if lane == SOURCE:
                self.keep[lane] = torch.ones_like(gap)
                continue
            rows = torch.cat([gap, gaps[SOURCE]], 1) if self.over == "both" and SOURCE in gaps else gap
            least = self._least(rows, call).view(-1, 1, 1, 1)
            kept, edited = proximal(gap, least, self.threshold)
            found[lane, "cond"] = outputs[lane, "uncond"] + kept
            self.keep[lane] = 1 - _grown(edited.to(gap), self.dilate)
        return found

    def _least(self, gaps: Tensor, call: Call) -> Tensor:
        """λ of every image, in units of the network's output."""
        if self.fixed is None:
            return torch.quantile(gaps.abs().flatten(1).float(), self.quantile, 1).to(gaps)
        alpha = self.schedule.at(int(call.t))
        gain = {"epsilon": 1.0, "v_prediction": alpha**0.5, "sample": (alpha / (1 - alpha)) ** 0.5}
        return torch.full_like(gaps[:, 0, 0, 0], self.fixed / gain[self.schedule.prediction])

    def after(self, call: Call, latents: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        near = call.t < self.until if self.until > 0 else 0 < -self.until < call.t
        if not near or self.guide == "none":
            return latents
        level = call.steps - 1 - call.step
        pin, photo = self.latents[level], self.latents[0]
        s = CLEAN if level == 0 else self.schedule.timesteps(call.steps)[call.step + 1]
        found = dict(latents)
        for lane, keep in self.keep.items():
            x = found[lane]
            if self.guide in ("reconstruction", "both"):
                x0 = clean_between(self.schedule, call.latents[lane], x, int(call.t), s)
                x = x - self.schedule.at(s) ** 0.5 * self.pull * keep * (x0 - photo.to(x))
            if self.guide in ("inversion", "both"):
                x = x - self.pull * keep * (x - pin.to(x))
            found[lane] = x
        return found


def clean_between(schedule: Schedule, x_t: Tensor, x_s: Tensor, t: int, s: int) -> Tensor:
    """x̂₀ of a DDIM step from both its ends: x = √ᾱ x̂₀ + √(1−ᾱ) ε̂ at t and at s, solved for x̂₀.

    Where both have one level, as the last step of some schedules, the step goes nowhere: its end is given.
    """
    (a_t, b_t), (a_s, b_s) = ((schedule.at(u) ** 0.5, (1 - schedule.at(u)) ** 0.5) for u in (t, s))
    apart = b_s * a_t - b_t * a_s
    return (b_s * x_t - b_t * x_s) / apart if abs(apart) > 1e-9 else x_s


def proximal(gap: Tensor, least: Tensor, threshold: Threshold) -> tuple[Tensor, Tensor]:
    """(prox_λ(δ), where it counts as edited)."""
    size = gap.abs()
    soft = gap.sign() * (size - least).clamp(min=0)
    if threshold == "hard":
        return torch.where(size > least, gap, 0.0), size > least
    if threshold == "soft":
        return soft, size > least
    if threshold == "official-l1":
        soft = torch.where(soft > 0, soft - least, soft)
        soft = torch.where(soft < 0, soft + least, soft)
    return soft, soft.abs() > least


def _grown(mask: Tensor, radius: int) -> Tensor:
    return F.max_pool2d(mask, 2 * radius + 1, 1, radius) if radius else mask


Inputs = Literal["values", "keys", "both"]
"""Whose input of cross-attention is learned; the values' is StyleDiffusion, the others its ablation (figure 13)."""


class Values(Control):
    """Cross-attention takes its values from a learned embedding, and its keys from the prompt as ever (or as `inputs`
    says).

    The source lane at every step; the others in the first `until` of the run, each with its own prompt's states c.
    """

    def __init__(
        self, values: Mapping[str, Tensor], *, until: float = 0.5, inputs: Inputs = "values"
    ) -> None:
        if not 0 <= until <= 1:
            raise InputError(f"the values' share of the run is {until:g}: it lies between 0 and 1")
        self.values, self.until = values, until
        self.inputs: Inputs = inputs

    @staticmethod
    def of(inversion: Inversion, base: Base, **settings: Any) -> Values:
        kept = {name: value.to(base.device, base.dtype) for name, value in inversion.values.items()}
        return Values(kept, **settings)

    def context(self, site: Site, call: Call, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        if site.kind == "self":
            return keys, values
        early = call.step < self.until * call.steps - 1e-9  # .56 x 50 is a little more than 28 to a computer
        told = [row.span for row in call.rows if row.side == "cond" and (row.lane == SOURCE or early)]
        if not told:
            return keys, values
        new = values.clone()
        for span in told:
            new[span] = embedded(values[span], {name: v[call.step] for name, v in self.values.items()})
        return put(self.inputs, keys, values, new)


class Fed(Control):
    """Gives the values of cross-attention (or what `inputs` says) a learned embedding of this moment."""

    def __init__(self, values: Mapping[str, Tensor], inputs: Inputs = "values") -> None:
        self.values = values
        self.inputs: Inputs = inputs

    def context(self, site: Site, call: Call, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        return (
            (keys, values)
            if site.kind == "self"
            else put(self.inputs, keys, values, embedded(values, self.values))
        )


def put(inputs: Inputs, keys: Tensor, values: Tensor, learned: Tensor) -> tuple[Tensor, Tensor]:
    """What keys and values read where one of them, or both, read what was learned."""
    return keys if inputs == "values" else learned, values if inputs == "keys" else learned


def embedded(states: Tensor, values: Mapping[str, Tensor]) -> Tensor:
    """c̃ of one step: the learned embedding itself, or c ⊙ s + b."""
    if "direct" in values:
        return values["direct"].to(states).expand_as(states)
    return states * values["scale"].to(states) + values["shift"].to(states)


class Caption(Control):
    """The source lane's cross-attention reads a fitted embedding of every step, in the place of its caption.

    Args:
        states: [step, image, word, channel].
    """

    def __init__(self, states: Tensor) -> None:
        self.states = states

    @staticmethod
    def of(inversion: Inversion, base: Base, **settings: Any) -> Caption:
        return Caption(inversion.values["caption"].to(base.device, base.dtype), **settings)

    def context(self, site: Site, call: Call, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        row = call.row(SOURCE)
        if site.kind == "self" or row is None:
            return keys, values
        keys, values = keys.clone(), values.clone()
        keys[row.span] = values[row.span] = self.states[call.step].to(keys)
        return keys, values


KINDS: Mapping[str, Any] = {"pinned": Pinned, "proximal": Proximal, "values": Values, "caption": Caption}
