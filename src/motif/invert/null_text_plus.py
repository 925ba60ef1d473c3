"""Null-text+: null-text inversion whose empty prompts keep the photo's attention maps too.

    min over ∅_i   ‖ z_{k−1}(z̄_k, ∅_i, c) − Z*[k−1] ‖² + w Σ_layers ‖ A(z_{k−1}, c) − A(Z*[k−1], c) ‖²

StyleDiffusion (Li et al. 2023, arXiv 2303.15649, Fig. 14) names it and does not say whose maps; card 10.6. ∅_i does not
touch the caption's maps of its own step, so ours are those of the latents where the step arrives, seen at the label
with which DDIM inversion left them: 0 where the latents are Z*. One more pass each update; all else is null-text's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from motif.base import Base
from motif.errors import InputError
from motif.inversion import Inversion
from motif.invert.fitted import Fit
from motif.invert.null_text import fitted
from motif.invert.pivot import begin
from motif.photo import Photo
from motif.progress import Progress

if TYPE_CHECKING:
    from PIL.Image import Image


def null_text_plus(
    base: Base,
    photos: Photo | Sequence[Photo],
    prompt: str | Sequence[str],
    *,
    steps: int = 50,
    guidance: float | None = None,
    inner_steps: int = 10,
    early_stop: float = 1e-5,
    attention_weight: float = 1.0,
    lr: float = 0.01,
    height: int | None = None,
    width: int | None = None,
    folder: Path | None = None,
    resume: bool = False,
    preview_every: int = 0,
    on_image: Callable[[Image], None] | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> Inversion:
    """Invert photos by DDIM, and fit the empty prompt of every step to come back with the photo's attention maps.

    Args:
        steps: Steps up, and down again in every edit.
        guidance: Guidance scale that is fitted, and used by the edits; the default is the base's own.
        inner_steps: Updates per step at most.
        early_stop: The loss at which the first step's updates end (both terms); 2e-5 is added per step.
        attention_weight: Weight of the maps' distance (StyleDiffusion: 1); without it the method is null-text.
        lr: Learning rate of the first step, falling by 1 % of it per step.
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
    if attention_weight <= 0:
        raise InputError(
            f"attention_weight is {attention_weight:g}: above 0, or use null-text, which has none"
        )
    if inner_steps == 0:
        raise InputError(
            "inner_steps is 0: nothing is fitted, and no maps are compared; use ddim, which is that"
        )
    fit = Fit(inner_steps, early_stop, lr, weight=attention_weight)
    return fitted(begin(base, photos, prompt, settings), "null-text-plus", fit, folder, resume)
