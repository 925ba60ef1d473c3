"""Text-embedding inversion: the caption's embedding of every step is fitted, the empty prompt stays as it is.

    min over c_i   ‖ z_{k−1}(z̄_k, ∅, c_i) − Z*[k−1] ‖²,   ε_w = ε_u(∅) + w (ε_c(c_i) − ε_u(∅))

Null-text inversion with the roles exchanged: the baseline of StyleDiffusion's release (Li et al. 2023, arXiv
2303.15649; card 9). The source's lane reads c_i in cross-attention (`motif.replay.Caption`); targets read their own
prompts, so that little of the photo is held in them: what the other inversions are compared with.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from motif.base import Base
from motif.inversion import Inversion
from motif.invert.fitted import Fit, descend, require_precision, require_updates
from motif.invert.kept import Kept
from motif.invert.pivot import begin, finished, run_key
from motif.photo import Photo
from motif.progress import Progress

if TYPE_CHECKING:
    from PIL.Image import Image


def text_embedding(
    base: Base,
    photos: Photo | Sequence[Photo],
    prompt: str | Sequence[str],
    *,
    steps: int = 50,
    guidance: float | None = None,
    inner_steps: int = 10,
    early_stop: float = 1e-5,
    lr: float = 0.01,
    height: int | None = None,
    width: int | None = None,
    folder: Path | None = None,
    resume: bool = False,
    preview_every: int = 0,
    on_image: Callable[[Image], None] | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> Inversion:
    """Invert photos by DDIM, and fit the caption's embedding of every step to come back under guidance: a baseline.

    Args:
        steps: Steps up, and down again in every edit.
        guidance: Guidance scale that is fitted, and used by the edits; the default is the base's own.
        inner_steps: Updates per step at most; 0 is DDIM.
        early_stop: The loss at which the first step's updates end; 2e-5 is added per step.
        lr: Learning rate of the first step, falling by 1 % of it per step.
        height: Of the photo in pixels; the default is the base's size.
        width: Of the photo in pixels; the default is the base's size.
        folder: Where a stopped run's state is kept.
        preview_every: Draw the photo and the way back so far after every so many steps; 0 is never.
        on_image: Given those pictures.
        on_progress: Told of every step.
    Raises:
        InputError: a photo, a size or a setting that cannot work.
    """
    settings = locals()
    require_updates(text_embedding, settings)
    fit = Fit(inner_steps, early_stop, lr, side="cond")
    task = begin(base, photos, prompt, settings)
    require_precision(base, "text-embedding")
    kept = Kept(folder, run_key(task, "text-embedding"), resume=resume)

    def finish(latents: Tensor, states: Tensor, way: Tensor) -> Inversion:
        parts: Any = {"values": {"caption": states.cpu()}, "replays": {"caption": {}}}
        return finished(task, "text-embedding", latents, way=way, **parts)

    return descend(task, fit, kept, finish)
