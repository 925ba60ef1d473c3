"""DDIM and a word swapped: the inverted noise, another prompt, nothing held. The baseline of all edits.

From z_T of an inversion the target prompt is denoised as it ever is: no attention control, no blend. Baseline of
pix2pix-zero (Parmar et al. 2023) and StyleDiffusion (Li et al. 2023); card 12. Highest text similarity, worst
structure.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from motif.base import Base
from motif.edit.edited import Edited
from motif.edit.run import Plan, Source, carried_out, same_as_source, targets_of, told
from motif.progress import Progress


def word_swap(
    base: Base,
    inversion: Source,
    prompt: str | Sequence[str],
    *,
    guidance: float | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> Edited:
    """Denoise a photo's inverted noise with another prompt: the plain baseline.

    Args:
        guidance: Guidance scale; the default is the inversion's.
    Raises:
        InputError: a token that no worn concept knows. WrongBase: the inversion does not fit this base.
    """
    settings = told(locals())
    prompts = targets_of(base, inversion, prompt)
    lanes = inversion.lanes(base, prompts, guidance=guidance)
    plan = Plan(lanes, same=same_as_source(base, inversion, lanes))
    return carried_out(base, inversion, plan, method="word-swap", settings=settings, tell=on_progress)
