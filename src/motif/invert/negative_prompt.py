"""Negative-prompt inversion: the photo's own caption stands at the unconditional side.

    ∅_i := c_src   ⇒   source lane: ε_u = ε_c, so that any guidance reconstructs as guidance 1 does

Miyake et al. 2023 (arXiv 2305.16807); card 3. As fast as DDIM inversion, and edits are guided away from the caption.
`interpolate` r mixes in the empty prompt: slerp(r, c_src, ∅) over the whole state (0 is the method, 1 is DDIM).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from motif.base import Base
from motif.errors import InputError
from motif.inversion import Inversion
from motif.invert.pivot import begin, finished, trajectory
from motif.photo import Photo
from motif.progress import Progress


def negative_prompt(
    base: Base,
    photos: Photo | Sequence[Photo],
    prompt: str | Sequence[str],
    *,
    steps: int = 50,
    guidance: float | None = None,
    interpolate: float = 0.0,
    height: int | None = None,
    width: int | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> Inversion:
    """Invert photos by DDIM, with their captions in the place of the empty prompt: no optimisation.

    Args:
        steps: Steps up, and down again in every edit.
        guidance: Guidance scale of the edits; the default is the base's own. The reconstruction does not depend on it.
        interpolate: From 0 (the caption, the method) to 1 (the empty prompt).
        height: Of the photo in pixels; the default is the base's size.
        width: Of the photo in pixels; the default is the base's size.
        on_progress: Told of every step.
    Raises:
        InputError: a photo that cannot be read, a size that does not fit, a token that no worn concept knows.
    """
    if not 0 <= interpolate <= 1:
        raise InputError(
            f"interpolate is {interpolate:g}: it lies between 0 (the caption) and 1 (the empty prompt)"
        )
    task = begin(base, photos, prompt, locals())
    with torch.no_grad():
        states = mixed(task.text.states, base.read_uncond().states, interpolate)
    against = ("",) if interpolate == 1 else task.prompts
    return finished(
        task, "negative-prompt", trajectory(task), uncond=states.float().cpu()[None], against=against
    )


def mixed(caption: Tensor, empty: Tensor, share: float) -> Tensor:
    """slerp(share, caption, empty) of every image's whole state [image, word, channel]."""
    if share in (0, 1):
        return caption if share == 0 else empty.expand_as(caption)
    a, b = caption.float().flatten(1), empty.float().flatten(1).expand(len(caption), -1)
    cosine = torch.nn.functional.cosine_similarity(a, b, dim=1).clamp(-1, 1)
    angle = cosine.acos()[:, None]
    flat = angle < 1e-4  # no angle between them: the line is the arc
    near = torch.where(flat, 1.0, angle.sin())
    left = torch.where(flat, 1.0 - share, ((1 - share) * angle).sin() / near)
    right = torch.where(flat, share, (share * angle).sin() / near)
    return (left * a + right * b).view_as(caption)
