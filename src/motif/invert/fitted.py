"""Text states that are fitted, step by step, until guided sampling comes back along Z*.

    min over e_i   ‖ z_{k−1}(z̄_k, e_i) − Z*[k−1] ‖² + w Σ_layers ‖ A(z_{k−1}) − A(Z*[k−1]) ‖²

What null-text inversion (card 2: e is ∅), Null-text+ (the same with w > 0) and text-embedding inversion (e is the
caption's embedding) share. Ours: the other side of guidance is predicted once per step, the base's weights stay frozen,
several photos at once, each stopping by itself.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from motif.attention import Side
from motif.base import Base
from motif.errors import InputError, require_heard
from motif.inversion import Inversion
from motif.invert.adam import Adam, falling
from motif.invert.guided import Guided, states_of
from motif.invert.kept import Kept
from motif.invert.pivot import Task, trajectory
from motif.invert.seen_maps import Maps, apart
from motif.text import Text

log = logging.getLogger("motif")


@dataclass(frozen=True)
class Search:
    """How one step's states are searched for."""

    lr: float
    betas: tuple[float, float]
    test_first: bool  # whether the loss is tested before an update, or after it as in the release
    updates: int = 10  # at most
    least: float = 0.0  # the first steps' tolerance is this share of the last one's at least


PAPER = Search(0.01, (0.9, 0.999), test_first=False)
FAST = Search(0.05, (0.5, 0.9), test_first=True, updates=4, least=0.8)
"""Four larger updates with a shorter memory come back as near as the paper's ten, and none at all are made where the
last step's states already serve; the last prediction of the search is the step's own. The last steps decide what comes
back: their tolerance is the paper's, and the first ones are not held to a fiftieth of it, which they miss in the
paper's ten updates anyway."""


@dataclass(frozen=True)
class Fit:
    """The settings of the search at every step."""

    updates: int
    stop: float
    lr: float
    search: Search = PAPER
    side: Side = "uncond"  # of guidance: whose states are fitted
    weight: float = 0.0  # of the attention maps where a step arrives

    def __post_init__(self) -> None:
        if self.updates < 0 or self.stop < 0 or self.lr <= 0:
            raise InputError("inner_steps and early_stop are 0 or more, lr is above 0")

    def tolerance(self, step: int, steps: int) -> float:
        """The loss that is good enough: 1e-5 + 2e-5 i in the paper."""
        last = self.stop + 2e-5 * (steps - 1)
        first = max(self.stop, self.search.least * last)
        return first + (last - first) * step / max(steps - 1, 1)


def require_precision(base: Base, method: str) -> None:
    """InputError where a search does not converge (float16); a warning where its first steps' loss is rounded away."""
    if base.dtype == torch.float16:
        raise InputError(f"{method} does not converge in float16: use --precision fp32")
    if base.dtype == torch.bfloat16:
        log.warning(
            "%s is fitted in bfloat16, which rounds its first steps' loss away: --precision fp32", method
        )


def require_updates(method: Callable[..., Any], settings: Mapping[str, Any]) -> None:
    """InputError for a setting of updates where none is made (`inner_steps` 0, which is DDIM)."""
    if settings["inner_steps"] == 0:
        names = ("early_stop", "variant", "lr")
        heard = [name for name in names if name in settings]
        require_heard(method, settings, heard, "with inner_steps 0 no update is made")


Finish = Callable[[Tensor, Tensor, Tensor], Inversion]
"""(Z*, the states of every step, the way back: level by level, as Z* is) -> the inversion."""


def descend(task: Task, fit: Fit, kept: Kept, finish: Finish) -> Inversion:
    """Fit every step's states; what was fitted is kept until the inversion is finished."""
    task.ticker.steps = 2 * task.steps
    old = {name: value.to(task.base.device) for name, value in kept.tensors.items()}
    seen = Maps.of(task) if fit.weight else None
    levels = [] if seen else list(old.get("latents", ()))  # maps are not kept: they are seen again
    done, way = list(old.get("states", ())), list(old.get("way", ()))
    task.resumed(kept.tensors, max(len(levels) - 1, 0) + len(done))

    def state() -> dict[str, Tensor]:
        # a step that is stopped between its two ends is taken again
        whole = min(len(done), max(len(way) - 1, 0))
        lists = {"latents": levels, "states": done[:whole], "way": way[: whole + 1]}
        return {name: torch.stack(each) for name, each in lists.items() if each} | {"cost": task.spent()}

    def save() -> None:
        if kept.due():
            kept.save(state())

    with kept.guarding(state, task.ticker):
        latents = trajectory(task, controls=[seen] if seen else [], levels=levels, each=save)
        with torch.no_grad():
            text = task.base.read_uncond() if fit.side == "uncond" else task.text
        way = way or [latents[-1]]
        states = done[-1] if done else text.states.float().expand(len(way[0]), -1, -1)
        search = _Descent(Guided(task, latents), fit, text, seen)
        for step in range(len(done), task.steps):
            states, moved, loss = search.step(step, way[-1], states)
            way.append(moved)
            done.append(states)
            search.way.show(step, way[-2], moved)
            task.ticker.tick(loss=loss)
            save()
        return finish(latents, torch.stack(done), torch.stack(way).flip(0))


@dataclass(frozen=True, eq=False)
class _Descent:
    """The search at one step after the other."""

    way: Guided
    fit: Fit
    text: Text  # whose states are fitted
    seen: Maps | None  # the maps of the way up

    def step(self, step: int, x: Tensor, states: Tensor) -> tuple[Tensor, Tensor, float]:
        """(the states of every image, the latents after the step, the largest loss)."""
        with torch.enable_grad():
            return self._step(step, x, states)

    def _step(self, step: int, x: Tensor, states: Tensor) -> tuple[Tensor, Tensor, float]:
        """Images that are good enough rest."""
        fit, other = self.fit, self._other(step, x)
        early, tolerance = fit.search.test_first, fit.tolerance(step, self.way.task.steps)
        states, moved = states.detach().clone(), x.clone()
        losses, everyone = torch.full((len(x),), torch.inf, device=x.device), list(range(len(x)))
        adam = Adam([states], falling(fit.lr, step, self.way.task.steps), fit.search.betas)
        busy = everyone

        def tried(images: list[int], mine: Tensor) -> Tensor:
            """Take the step with these states, and note where it leads and how far off that is."""
            found = self._moved(step, x[images], mine, other[images], images)
            loss = self._loss(step, found, images)
            moved[images], losses[images] = found.detach(), loss.detach()
            return loss

        for update in range(fit.updates):
            mine = states[busy].requires_grad_()
            loss = tried(busy, mine)
            bad = [place for place, image in enumerate(busy) if not losses[image] < tolerance]
            wanted = bad if early else list(range(len(busy)))
            if wanted:
                (slope,) = torch.autograd.grad(loss[wanted].sum(), mine)
                self.way.task.spend(backwards=len(wanted))
                adam.update([busy[place] for place in wanted], [slope[wanted]], update)
            busy = [busy[place] for place in bad]
            if not busy:
                break
        last = (
            (busy if early else everyone) if fit.updates else everyone
        )  # updated after their last prediction
        if last:
            with torch.no_grad():
                tried(last, states[last])
        return states, moved, float(losses.max())

    def _other(self, step: int, x: Tensor) -> Tensor:
        """The side of guidance that is not fitted."""
        if self.fit.side == "uncond":
            return self.way.cond(step, x)
        with torch.no_grad():
            empty = self.way.task.base.read_uncond()
            return self.way.predict(step, x, empty.states, empty.pooled)

    def _moved(self, step: int, x: Tensor, states: Tensor, other: Tensor, images: list[int]) -> Tensor:
        _, pooled = states_of(self.text, images)
        out = self.way.predict(step, x, states, pooled, side=self.fit.side)
        cond, uncond = (other, out) if self.fit.side == "uncond" else (out, other)
        return self.way.move(step, x, cond, uncond)

    def _loss(self, step: int, moved: Tensor, images: list[int]) -> Tensor:
        loss = self.way.loss(step, moved, images)
        if self.seen is None:
            return loss
        maps = Maps()  # of the caption, at the label with which the way up left these latents
        self.way.predict(step, moved, *states_of(self.way.task.text, images), side="cond", controls=[maps])
        return loss + self.fit.weight * apart(maps.steps[step], self.seen.steps[step], images)
