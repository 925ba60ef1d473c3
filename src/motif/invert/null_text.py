"""Null-text inversion: the empty prompt of every step is optimised until guided sampling comes back to the photo.

    min over ∅_i   ‖ z_{k−1}(z̄_k, ∅_i, c) − Z*[k−1] ‖²,   ε_w = ε_u(∅_i) + w (ε_c − ε_u(∅_i))

Mokady et al. 2023 (arXiv 2211.09794); card 2: per step 10 updates by a fresh Adam at lr 0.01 (1 − i/100), from the last
step's ∅, until the loss is below 1e-5 + 2e-5 i. Ours: ε_c once per step, the base's weights stay frozen, several photos
at once, each stopping by itself; and the variant "fast" (see `FAST`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from motif.base import Base
from motif.errors import InputError
from motif.inversion import Inversion
from motif.invert.adam import Adam
from motif.invert.guided import Guided
from motif.invert.kept import Kept
from motif.invert.pivot import Task, begin, finished, run_key, trajectory
from motif.photo import Photo
from motif.progress import Progress


@dataclass(frozen=True)
class Search:
    """How one step's ∅ is searched for."""

    lr: float
    betas: tuple[float, float]
    test_first: bool  # whether the loss is tested before an update, or after it as in the release
    least: float = 0.0  # the first steps' tolerance is this share of the last one's at least


PAPER = Search(0.01, (0.9, 0.999), test_first=False)
FAST = Search(0.05, (0.5, 0.9), test_first=True, least=0.8)
"""Larger updates with a shorter memory, and none at all where the last step's ∅ already serves; the last prediction
of the search is the step's own. The last steps decide what comes back: their tolerance is the paper's, and the first
ones are not held to a fiftieth of it, which they miss in the paper's ten updates anyway."""


def null_text(
    base: Base,
    photos: Photo | Sequence[Photo],
    prompt: str | Sequence[str],
    *,
    steps: int = 50,
    guidance: float | None = None,
    inner_steps: int = 10,
    early_stop: float = 1e-5,
    variant: Literal["paper", "fast"] = "paper",
    lr: float | None = None,
    height: int | None = None,
    width: int | None = None,
    folder: Path | None = None,
    resume: bool = False,
    on_progress: Callable[[Progress], None] | None = None,
) -> Inversion:
    """Invert photos by DDIM, and fit the empty prompt of every step to come back under guidance.

    Args:
        steps: Steps up, and down again in every edit.
        guidance: Guidance scale that is fitted, and used by the edits; the default is the base's own.
        inner_steps: Updates per step at most; 0 is DDIM.
        early_stop: The loss at which the first step's updates end (paper: 1e-5); 2e-5 is added per step.
        variant: The paper's procedure, or a faster search to the same tolerances.
        lr: Learning rate of the first step, falling by 1 % of it per step; the default is the variant's own.
        height: Of the photo in pixels; the default is the base's size.
        width: Of the photo in pixels; the default is the base's size.
        folder: Where a stopped run's state is kept.
        on_progress: Told of every step.
    Raises:
        InputError: a photo, a size or a setting that cannot work; guidance 1, which has no empty prompt to fit.
    """
    settings = locals()
    if inner_steps < 0 or early_stop < 0 or (lr is not None and lr <= 0):
        raise InputError("inner_steps and early_stop are 0 or more, lr is above 0")
    task = begin(base, photos, prompt, settings)
    if task.guidance == 1:
        raise InputError(
            "guidance 1 reads no empty prompt, there is nothing to fit: use `ddim`, or more guidance"
        )
    if base.dtype == torch.float16:
        raise InputError("null-text does not converge in float16: use --precision fp32 or bf16")
    search = {"paper": PAPER, "fast": FAST}[variant]
    fit = Fit(inner_steps, early_stop, lr or search.lr, search)
    kept = Kept(folder, run_key(task, "null-text"), resume=resume)
    task.ticker.steps = 2 * task.steps
    latents, states, again = _descend(task, fit, kept)
    return finished(task, "null-text", latents, again=again, uncond=states.cpu())


@dataclass(frozen=True)
class Fit:
    """The settings of the search at every step."""

    updates: int
    stop: float
    lr: float
    search: Search

    def tolerance(self, step: int, steps: int) -> float:
        """The loss that is good enough: 1e-5 + 2e-5 i in the paper."""
        last = self.stop + 2e-5 * (steps - 1)
        first = max(self.stop, self.search.least * last)
        return first + (last - first) * step / max(steps - 1, 1)

    def rate(self, step: int, steps: int) -> float:
        """lr (1 − i/100); a run of more than 100 steps falls as far over its whole length."""
        return self.lr * (1 - step / max(100, 2 * steps))


def _descend(task: Task, fit: Fit, kept: Kept) -> tuple[Tensor, Tensor, Tensor]:
    """(Z*, the states of every step, the latents it comes back to)."""
    latents = kept.tensors.get("latents")
    latents = trajectory(task) if latents is None else latents.to(task.base.device)
    way = Guided(task, latents)
    with torch.no_grad():
        empty = task.base.read_uncond()
    done = list(kept.tensors.get("uncond", torch.empty(0)).to(task.base.device))
    x = kept.tensors["x"].to(latents) if done else latents[-1]
    null = done[-1] if done else empty.states.float().expand(len(x), -1, -1)
    task.resumed(kept.tensors, task.steps + len(done) - task.ticker.done)

    def state() -> dict[str, Tensor]:
        return {"latents": latents, "x": x, "cost": task.spent()} | (
            {"uncond": torch.stack(done)} if done else {}
        )

    with kept.guarding(state, lambda: len(done)):
        for step in range(len(done), task.steps):
            found, moved, loss = _fitted(way, fit, step, x, null, empty.pooled)
            null, x = found, moved
            done.append(null)
            task.ticker.tick(loss=loss)
            if kept.due():
                kept.save(state())
    return latents, torch.stack(done), x


@torch.enable_grad()
def _fitted(
    way: Guided, fit: Fit, step: int, x: Tensor, null: Tensor, pooled: Tensor | None
) -> tuple[Tensor, Tensor, float]:
    """(∅_i of every image, the latents after the step, the largest loss). Images that are good enough rest."""
    early, cond = fit.search.test_first, way.cond(step, x)
    null, moved = null.detach().clone(), x.clone()
    losses, busy = torch.full((len(x),), torch.inf, device=x.device), list(range(len(x)))
    adam = Adam([null], fit.rate(step, way.task.steps), fit.search.betas)

    def tried(images: list[int], states: Tensor) -> Tensor:
        """Take the step with these states, and note where it leads and how far off that is."""
        out = way.predict(step, x[images], states, pooled)
        found = way.move(step, x[images], cond[images], out)
        loss = way.loss(step, found, images)
        moved[images], losses[images] = found.detach(), loss.detach()
        return loss

    for update in range(fit.updates):
        states = null[busy].requires_grad_()
        loss = tried(busy, states)
        good = (losses[busy] < fit.tolerance(step, way.task.steps)).tolist()
        bad = [place for place, fine in enumerate(good) if not fine]
        wanted = bad if early else list(range(len(busy)))
        if wanted:
            (slope,) = torch.autograd.grad(loss[wanted].sum(), states)
            way.task.spend(backwards=len(wanted))
            adam.update([busy[place] for place in wanted], [slope[wanted]], update)
        busy = [busy[place] for place in bad]
        if not busy:
            break
    last = busy if early else list(range(len(x)))  # whose ∅ was updated after its last prediction
    if last or not fit.updates:
        with torch.no_grad():
            tried(last or list(range(len(x))), null[last or slice(None)])
    return null, moved, float(losses.max())
