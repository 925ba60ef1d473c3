"""Solvers: at which timesteps a run stands, and how a lane gets from one to the next.

`ddim` takes a step by what is predicted there alone (`Schedule.move`). `lms` remembers its lane's last predictions,
four with the new one:

    x̄ = x / √ᾱ,  σ = √((1−ᾱ)/ᾱ):    dx̄/dσ = ε̂                        (the probability flow; Song et al. 2021, eq. 14)
    x̄_s = x̄_t + Σ_j c_j ε̂_j,    c_j = ∫ from σ_t to σ_s of the polynomial that is 1 at σ_j and 0 at the others

It is k-diffusion's linear multistep method, with 100 steps of which ELITE's paper and release draw (card 5.4). As in
diffusers' LMSDiscreteScheduler with its own settings, timesteps lie evenly from the last one to 0, fractions too; a run
begins with √(1−ᾱ) of the noise, and ends at σ = 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol

from torch import Tensor

from motif.errors import InputError
from motif.schedule import CLEAN, Schedule

Solver = Literal["ddim", "lms"]

ORDER = 4
"""How many predictions `lms` goes by, where there were so many."""


class Walk(Protocol):
    """One run of a solver."""

    times: tuple[float, ...]  # from the noisiest down

    def move(self, lane: str, x: Tensor, output: Tensor, step: int, noise: Tensor | None) -> Tensor:
        """A lane's latents after a step, from those before it and the guided output there."""
        ...


def walk(solver: Solver, schedule: Schedule, steps: int, eta: float) -> Walk:
    """A run. InputError for steps that the solver cannot take, and for noise that it would not add."""
    if not 0 <= eta <= 1:
        raise InputError(f"eta is {eta:g}: it lies between 0 (DDIM) and 1 (DDPM)")
    if solver == "ddim":
        return Ddim(schedule, steps, eta)
    if solver != "lms":
        raise InputError(f"solver is {solver!r}: there is ddim and lms")
    if eta:
        raise InputError(f"eta is {eta:g}: the solver lms adds no noise on its way, ddim does")
    return Lms(schedule, steps)


def begun(solver: Solver, schedule: Schedule, noise: Tensor) -> Tensor:
    """The latents that a run begins with."""
    return noise if solver == "ddim" else (1 - schedule.at(schedule.length - 1)) ** 0.5 * noise


class Ddim:
    """Every step by itself; η adds noise."""

    def __init__(self, schedule: Schedule, steps: int, eta: float = 0.0) -> None:
        self.schedule, self.eta = schedule, eta
        self.times: tuple[float, ...] = schedule.timesteps(steps)

    def move(self, lane: str, x: Tensor, output: Tensor, step: int, noise: Tensor | None) -> Tensor:
        s = self.times[step + 1] if step + 1 < len(self.times) else CLEAN
        return self.schedule.move(x, output, self.times[step], s, eta=self.eta, noise=noise)


class Lms:
    """Every step by what its lane's last ones say too."""

    def __init__(self, schedule: Schedule, steps: int) -> None:
        last = schedule.length - 1
        if not 2 <= steps <= schedule.length:
            raise InputError(
                f"steps is {steps}: with the solver lms it must lie between 2 and {schedule.length}"
            )
        if not schedule.at(last):
            raise InputError("the base's schedule ends in noise alone, where lms cannot begin: take ddim")
        self.schedule = schedule
        self.times = tuple(last * (steps - 1 - i) / (steps - 1) for i in range(steps))
        self._alphas = [*(schedule.at(t) for t in self.times), 1.0]
        self._said: dict[str, list[Tensor]] = {}  # ε̂ of each lane, the newest first

    def move(self, lane: str, x: Tensor, output: Tensor, step: int, noise: Tensor | None) -> Tensor:
        _, eps = self.schedule.split(x, output, self.times[step])
        said = self._said[lane] = [eps, *self._said.get(lane, [])[: ORDER - 1]]
        sigmas = [(1 / alpha - 1) ** 0.5 for alpha in self._alphas]
        parts = shares([sigmas[step - j] for j in range(len(said))], sigmas[step + 1])
        moved = x / self._alphas[step] ** 0.5 + sum(c * e for c, e in zip(parts, said, strict=True))
        return self._alphas[step + 1] ** 0.5 * moved


def shares(known: Sequence[float], end: float) -> list[float]:
    """c_j: over the way from the first of these places to `end`, the integral of the polynomial that is 1 at place j
    and 0 at the others."""
    from numpy.polynomial import Polynomial

    found: list[float] = []
    for j, own in enumerate(known):
        others = [place for i, place in enumerate(known) if i != j]
        line = Polynomial([1.0])
        for place in others:
            line *= Polynomial([known[0] - place, 1.0]) / (own - place)
        found.append(float(line.integ()(end - known[0])))
    return found
