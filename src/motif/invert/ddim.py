"""DDIM inversion: the deterministic sampler, walked upwards.

Song et al. 2021 (arXiv 2010.02502), as prompt-to-prompt uses it; card 1. The start noise z_T comes back to the photo at
guidance 1 up to the steps' curvature; with guidance the two ways differ, and the photo is lost: the baseline of all
others. The empty prompt (or `negative`) stands at the unconditional side.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from motif.base import Base
from motif.inversion import Inversion
from motif.invert.pivot import begin, finished, trajectory
from motif.lanes import away
from motif.photo import Photo
from motif.progress import Progress


def ddim(
    base: Base,
    photos: Photo | Sequence[Photo],
    prompt: str | Sequence[str],
    *,
    steps: int = 50,
    guidance: float | None = None,
    negative: str = "",
    height: int | None = None,
    width: int | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> Inversion:
    """Invert photos by DDIM: the plain baseline, exact at guidance 1 alone.

    Args:
        steps: Steps up, and down again in every edit.
        guidance: Guidance scale of the reconstruction and the edits; the default is the base's own.
        negative: What edits are guided away from; the default is the empty prompt.
        height: Of the photo in pixels; the default is the base's size.
        width: Of the photo in pixels; the default is the base's size.
        on_progress: Told of every step.
    Raises:
        InputError: a photo that cannot be read, a size that does not fit, a token that no worn concept knows;
            `negative` at guidance 1, which hears none.
    """
    task = begin(base, photos, prompt, locals())
    with torch.no_grad():
        away(base, negative, task.guidance)  # checked before the work
    return finished(task, "ddim", trajectory(task), against=(negative,))
