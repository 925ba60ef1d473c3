"""DCI's run: a main lane, and beside it in the first part an auxiliary one, from its own noise, that flows into it.

    shared guidance    ε^a = ε_u + g (ε_a − ε_u)    with ε_u of the main lane's latents: three rows a step, not four

It is ε that is shared, whatever the base predicts. While x is mostly noise ε_u ≈ x / σ, so that it pulls the auxiliary
lane into the main one: D / σ of their difference D shrinks by (1 − g (1 − r)) / r a step, r = σ_s / σ_t.

Jin et al. 2024 (arXiv 2412.04831), section 3.3; card of ICO and DCI, 6. The window is counted in steps, `until` of the
run, and not read off timesteps: with most spacings a run does not start at the last one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from motif.attention import Call, Control, Side
from motif.base import Base
from motif.errors import InputError
from motif.guidance import guided, lend
from motif.images import to_images
from motif.lanes import SEEDS, Lane, away, denoise, finish
from motif.sample.integration import GAIN, Form, Integration, Layers, Words
from motif.sample.stand_in import Pair
from motif.schedule import CLEAN, Schedule, draw_noise
from motif.text import Text

if TYPE_CHECKING:
    from PIL.Image import Image

NOISY = 0.2
"""Below this ᾱ a latent is mostly noise."""

ASIDE = 0x5DEECE66D
"""The auxiliary lane's seed is the picture's, with these bits turned over: another noise for every picture."""


@dataclass(frozen=True, eq=False)
class TwoLanes:
    """Everything of a run but its seeds and its balance, read and checked."""

    base: Base
    pair: Pair
    steps: int
    guidance: float
    until: float
    size: tuple[int, int] | None = None
    eta: float = 0.0
    negative: str = ""
    shared: bool = True
    form: Form = "release"
    layers: Layers = "all"
    gain: float = GAIN
    controls: tuple[Control, ...] = ()
    texts: tuple[Text, Text, Text] = field(init=False)
    words: tuple[Words, Words] = field(init=False)

    def __post_init__(self) -> None:
        _check_until(self.until)
        if self.until and not self.window:
            raise InputError(
                f"until {self.until:g} of {self.steps} steps is not one step: take more, or 0 for plain sampling"
            )
        self.base.latent_shape(self.size)
        self.base.schedule.timesteps(self.steps)
        with torch.no_grad():
            texts = [self.base.read(self.pair.main), self.base.read(self.pair.aux)]
            texts.append(away(self.base, self.negative, self.guidance))
        main, aux, uncond = texts
        words = (
            Words.of(main.tokens[0], self.pair.concept),
            Words.of(aux.tokens[0], self.pair.stand_in, rest=True),
        )
        object.__setattr__(self, "texts", (main, aux, uncond))
        object.__setattr__(self, "words", words)

    @property
    def window(self) -> int:
        """How many steps have two lanes."""
        return round(self.until * self.steps)

    @property
    def evaluations(self) -> int:
        """Of the denoiser, for one picture."""
        return evaluations(self.steps, self.until, guided=self.guidance != 1.0, shared=self.shared)

    def pictures(
        self,
        seeds: Sequence[int],
        balance: float,
        *,
        aux_seeds: Sequence[int] | None = None,
        seen: dict[tuple[int, int], list[Tensor]] | None = None,
    ) -> list[Image]:
        """A picture of each seed, in one pass; `seen` gets the masks."""
        aux_seeds = [seed ^ ASIDE for seed in seeds] if aux_seeds is None else aux_seeds
        for seed in (*seeds, *aux_seeds):
            if not 0 <= seed < SEEDS:
                raise InputError(f"seed {seed}: seeds lie between 0 and 2^63 - 1")
        main, aux, uncond = self.texts
        wide = torch.promote_types(self.base.dtype, torch.float32)
        shape, like = self.base.latent_shape(self.size), torch.empty(0, device=self.base.device, dtype=wide)
        draws, aux_draws = (
            [torch.Generator().manual_seed(seed) for seed in group] for group in (seeds, aux_seeds)
        )
        own = None if self.shared else uncond
        with torch.no_grad():
            lanes = [
                Lane("main", draw_noise(shape, draws, like), main, uncond, self.guidance),
                Lane(
                    "aux", draw_noise(shape, aux_draws, like), aux, own, self.guidance,
                    borrows="main" if self.shared else None, until=self.until,
                ),
            ]  # fmt: skip
            mix = Integration(*self.words, balance, self.form, self.gain, self._last(), seen)
            noise = [OwnNoise(self.base.schedule, lanes[1], aux_draws, self.eta)] if self.eta else []
            # the loop draws for all lanes alike, so it comes last
            controls = [*self.controls, mix, *noise]
            done = finish(
                denoise(self.base, lanes if self.window else lanes[:1], steps=self.steps, eta=self.eta,
                        draws=draws, controls=controls if self.window else self.controls)
            )  # fmt: skip
            if self.window and not mix.acted:
                raise InputError(
                    f"{self.base.name} has no cross-attention layer in which two lanes could meet"
                )
            return to_images(self.base.decode(done["main"]))

    def _last(self) -> str | None:
        """The name of the denoiser's last cross-attention layer, where it alone acts."""
        if self.layers == "all":
            return None
        up = [site.name for site in self.base.models.sites if site.kind == "cross" and site.place == "up"]
        return up[-1]


@dataclass(eq=False)
class OwnNoise(Control):
    """With η > 0 the auxiliary lane's step is taken with noise of its own; the loop gives every lane the main one's."""

    schedule: Schedule
    lane: Lane
    draws: Sequence[torch.Generator]
    eta: float
    _outputs: Mapping[tuple[str, Side], Tensor] = field(default_factory=dict[tuple[str, Side], Tensor])

    def predicted(
        self, call: Call, outputs: Mapping[tuple[str, Side], Tensor]
    ) -> Mapping[tuple[str, Side], Tensor]:
        self._outputs = outputs
        return outputs

    def after(self, call: Call, latents: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        name, times = self.lane.name, self.schedule.timesteps(call.steps)
        if name not in latents:
            return latents
        x, t = call.latents[name], times[call.step]
        output = guided(self.lane, lend(self.schedule, [self.lane], self._outputs, call.latents, t))
        s = times[call.step + 1] if call.step + 1 < call.steps else CLEAN
        noise = draw_noise(tuple(x.shape[1:]), self.draws, x)
        return {**latents, name: self.schedule.move(x, output, t, s, eta=self.eta, noise=noise)}


def thrown(schedule: Schedule, steps: int, window: int, guidance: float) -> float:
    """How many times its first distance from the main lane shared guidance throws the auxiliary one, at most.

    1 where it draws it in. Above that, steps are so long for the guidance that each leaps past the main lane to a place
    that is no latent. Of the steps at which x is mostly noise, where it is known beforehand.
    """
    apart = most = 1.0
    for t, s in pairwise(schedule.timesteps(steps)[: window + 1]):
        if 0 < schedule.at(t) < NOISY:
            r = ((1 - schedule.at(s)) / schedule.at(s) * schedule.at(t) / (1 - schedule.at(t))) ** 0.5
            apart *= abs(1 - guidance * (1 - r)) / r
            most = max(most, apart)
    return most


def evaluations(steps: int, until: float, *, guided: bool, shared: bool) -> int:
    """Of the denoiser, for one picture: plain sampling's, and the auxiliary lane's in its part of the run."""
    return (1 + guided) * steps + (1 + (guided and not shared)) * round(until * steps)


def equal_steps(schedule: Schedule, steps: int, until: float, *, guided: bool, shared: bool) -> int:
    """The most steps, at least one of them with two lanes, that cost no more than plain sampling with `steps`, and
    start as noisy.

    Some counts start hundreds of timesteps below the last one ("leading" spacing; card 6.1, trap 2): those that start
    more than a step of plain sampling below it are passed over.
    """
    _check_until(until)
    cost, times = evaluations(steps, 0.0, guided=guided, shared=shared), schedule.timesteps(steps)
    stride = times[0] - times[1] if steps > 1 else schedule.length
    for fewer in range(steps, 0, -1):
        affordable = evaluations(fewer, until, guided=guided, shared=shared) <= cost
        if affordable and round(until * fewer) and schedule.timesteps(fewer)[0] >= times[0] - stride:
            return fewer
    raise InputError(f"{steps} steps are too few for two lanes at equal cost: take more, or raise until")


def _check_until(until: float) -> None:
    if not 0 <= until <= 1:
        raise InputError(f"until is {until:g}: a part of the run, from 0 (plain sampling) to 1")
