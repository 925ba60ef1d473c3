"""P2Plus: Prompt-to-Prompt that injects self maps on the unconditional side of guidance too.

    while ⌊T a⌋ ≤ i < ⌊T b⌋:   M*_uncond ← M_uncond      of the source, at the coarse self layers

Li et al. 2023 (StyleDiffusion, arXiv 2303.15649); card 9. The unconditional prediction has the weight 1 − w < 0: with
the source's structure in it, the result is pushed away from that structure, as a large change of shape needs it. 0 is
Prompt-to-Prompt.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from motif.base import Base
from motif.edit.alignment import Tail
from motif.edit.edited import Edited
from motif.edit.planned import BLENDING, Blend, BlendFrom, Mode, Settings, UpTo, planned
from motif.edit.prompt_to_prompt import listed
from motif.edit.run import Source, carried_out, targets_of, told
from motif.edit.windows import Window, WordWindow, words_with_numbers, words_with_windows
from motif.errors import require_heard
from motif.progress import Progress


def p2plus(
    base: Base,
    inversion: Source,
    prompt: str | Sequence[str],
    *,
    uncond_until: float = 0.5,
    uncond_from: float = 0.0,
    mode: Mode = "auto",
    cross_until: float = 0.8,
    cross_from: float = 0.0,
    cross_words: Mapping[str, WordWindow] | Sequence[str] = (),
    self_until: float = 0.4,
    self_from: float = 0.0,
    self_up_to: UpTo = "half",
    louder: Mapping[str, float] | Sequence[str] = (),
    blend: Sequence[str] = (),
    blend_from: BlendFrom = "union",
    blend_threshold: float = 0.3,
    blend_start: float = 0.2,
    spare: Sequence[str] = (),
    tail: Tail = "fixed",
    guidance: float | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> Edited:
    """Edit a photo by its prompt with larger changes of shape: Prompt-to-Prompt, and self maps on the unguided side.

    Args:
        uncond_until: Until which part of the run the unconditional side's self maps are injected (paper: .5; 0 is
            prompt-to-prompt).
        uncond_from: From which part of the run on.
        mode: refine, replace, or auto (from the two prompts), as in prompt-to-prompt.
        cross_until: Until which part of the run cross maps are injected.
        cross_from: From which part of the run on.
        cross_words: The same for a word of the target: WORD=UNTIL or WORD=FROM:UNTIL.
        self_until: Until which part of the run self maps of the conditional side are injected.
        self_from: From which part of the run on.
        self_up_to: The finest self maps that are injected, as a part of the latent's side: half (32 of Stable
            Diffusion's 64), or quarter (16).
        louder: WORD=FACTOR multiplies a target word's map while cross maps are injected (paper: 2 on the new word).
            Where PROMPT is a photo's own caption and nothing is louder, that photo comes back as its reconstruction.
        blend: A word of either prompt: outside of the blend words' places the picture stays the source.
        blend_from: The mask is of the source's and the target's words (union), or of the source's alone.
        blend_threshold: What share of a map's maximum belongs to the mask.
        blend_start: From which part of the run on the blend acts.
        spare: A word whose places are cut out of the mask.
        tail: What replace does behind a swap of unequal lengths: fixed, or official (the release's, which shifts).
        guidance: Guidance scale; the default is the inversion's.
    Raises:
        InputError: as prompt-to-prompt; guidance 1, which has no unconditional side.
        WrongBase: the inversion does not fit this base.
    """
    settings = told(locals())
    prompts = targets_of(base, inversion, prompt)
    if not blend:
        require_heard(p2plus, settings, BLENDING, "it is of a blend, name blend words")
    if self_until == self_from and uncond_until == uncond_from:
        require_heard(p2plus, settings, ["self_up_to"], "no self maps are injected")
    use = Settings(
        cross=Window(cross_from, cross_until),
        own=[Window(self_from, self_until)],
        mode=mode,
        tail=tail,
        words=words_with_windows(cross_words, "cross_words"),
        louder=words_with_numbers(louder, "louder"),
        up_to=self_up_to,
        unguided=Window(uncond_from, uncond_until),
        blend=Blend(listed(blend), blend_from, blend_threshold, blend_start, listed(spare)),
    )
    plan = planned(base, inversion, prompts, use, guidance=guidance)
    return carried_out(base, inversion, plan, method="p2plus", settings=settings, tell=on_progress)
