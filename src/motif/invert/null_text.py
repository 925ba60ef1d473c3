"""Null-text inversion: the empty prompt of every step is optimised until guided sampling comes back to the photo.

    min over ∅_i   ‖ z_{k−1}(z̄_k, ∅_i, c) − Z*[k−1] ‖²,   ε_w = ε_u(∅_i) + w (ε_c − ε_u(∅_i))

Mokady et al. 2023 (arXiv 2211.09794); card 2: per step 10 updates by a fresh Adam at lr 0.01 (1 − i/100), from the last
step's ∅, until the loss is below 1e-5 + 2e-5 i. Ours: see `fitted`; and the variant "fast" (`fitted.FAST`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from torch import Tensor

from motif.base import Base
from motif.errors import InputError
from motif.inversion import Inversion
from motif.invert.fitted import FAST, PAPER, Fit, descend, require_precision, require_updates
from motif.invert.kept import Kept
from motif.invert.pivot import Task, begin, finished, run_key
from motif.photo import Photo
from motif.progress import Progress

if TYPE_CHECKING:
    from PIL.Image import Image


def null_text(
    base: Base,
    photos: Photo | Sequence[Photo],
    prompt: str | Sequence[str],
    *,
    steps: int = 50,
    guidance: float | None = None,
    inner_steps: int | None = None,
    early_stop: float = 1e-5,
    variant: Literal["paper", "fast"] = "paper",
    lr: float | None = None,
    height: int | None = None,
    width: int | None = None,
    folder: Path | None = None,
    resume: bool = False,
    preview_every: int = 0,
    on_image: Callable[[Image], None] | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> Inversion:
    """Invert photos by DDIM, and fit the empty prompt of every step to come back under guidance.

    Args:
        steps: Steps up, and down again in every edit.
        guidance: Guidance scale that is fitted, and used by the edits; the default is the base's own.
        inner_steps: Updates per step at most; 0 is DDIM. The default is the variant's: the paper's 10, or 4.
        early_stop: The loss at which the first step's updates end (paper: 1e-5); 2e-5 is added per step.
        variant: The paper's procedure, or a faster search: fewer and larger updates, and the first steps held to a
            looser tolerance (the last steps', which decide what comes back, to the paper's).
        lr: Learning rate of the first step, falling by 1 % of it per step; the default is the variant's own.
        height: Of the photo in pixels; the default is the base's size.
        width: Of the photo in pixels; the default is the base's size.
        folder: Where a stopped run's state is kept.
        preview_every: Draw the photo and the way back so far after every so many steps; 0 is never.
        on_image: Given those pictures.
        on_progress: Told of every step.
    Raises:
        InputError: a photo, a size or a setting that cannot work; guidance 1, which has no empty prompt to fit.
    """
    settings = locals()
    require_updates(null_text, settings)
    search = {"paper": PAPER, "fast": FAST}[variant]
    fit = Fit(
        search.updates if inner_steps is None else inner_steps,
        early_stop,
        search.lr if lr is None else lr,
        search,
    )
    return fitted(begin(base, photos, prompt, settings), "null-text", fit, folder, resume)


def fitted(task: Task, method: str, fit: Fit, folder: Path | None, resume: bool) -> Inversion:
    """The inversion whose empty prompts are fitted so. InputError where there is none to fit."""
    if task.guidance == 1:
        raise InputError(
            "guidance 1 reads no empty prompt, there is nothing to fit: use `ddim`, or more guidance"
        )
    require_precision(task.base, method)

    def finish(latents: Tensor, states: Tensor, way: Tensor) -> Inversion:
        return finished(task, method, latents, way=way, uncond=states.cpu())

    return descend(task, fit, Kept(folder, run_key(task, method), resume=resume), finish)
