"""Prompt-to-Prompt: the edited picture is denoised beside its source, and takes the source's attention maps over.

    M*_i ← α_i E · Edit(M_i, M*_i) + (1 − α_i) M*_i      cross maps, by the words' alignment (refine or replace)
    M*_i ← M_i                                           self maps of the coarse layers, in the first steps
    x*   ← x + mask (x* − x)                             local blend: outside of some words' places, the source

Hertz et al. 2022 (arXiv 2208.01626); card 6. On an inversion, as Mokady et al. 2023 use it, or from a seed. Ours: words
of several tokens and learned tokens are aligned whole; sizes are parts of the latent's side; any number of targets.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from motif.base import Base
from motif.edit.alignment import Tail
from motif.edit.edited import Edited
from motif.edit.planned import BLENDING, Blend, BlendFrom, Mode, Settings, UpTo, planned
from motif.edit.run import Source, carried_out, targets_of, told
from motif.edit.windows import Window, WordWindow, words_with_numbers, words_with_windows
from motif.errors import require_heard
from motif.progress import Progress


def prompt_to_prompt(
    base: Base,
    inversion: Source,
    prompt: str | Sequence[str],
    *,
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
    """Edit a photo by editing its prompt: the source's attention maps keep what both prompts say in its place.

    Args:
        mode: refine keeps the maps of words that both prompts say; replace gives the map of a swapped word to the word
            in its place; auto is replace where words are swapped one for one, refine elsewhere and for learned words.
        cross_until: Until which part of the run cross maps are injected: more keeps more of the layout (paper: .8).
        cross_from: From which part of the run on.
        cross_words: The same for a word of the target: WORD=UNTIL or WORD=FROM:UNTIL.
        self_until: Until which part of the run self maps are injected: more keeps more of the shape (paper: .4).
            SDEdit's strength runs the opposite way: more of it keeps less.
        self_from: From which part of the run on.
        self_up_to: The finest self maps that are injected, as a part of the latent's side: half (32 of Stable
            Diffusion's 64), or quarter (16).
        louder: WORD=FACTOR multiplies a target word's map while cross maps are injected: 2 is more of it, .5 less.
            Where PROMPT is a photo's own caption and nothing is louder, that photo comes back as its reconstruction.
        blend: A word of either prompt: outside of the blend words' places the picture stays the source.
        blend_from: The mask is of the source's and the target's words (union), or of the source's alone.
        blend_threshold: What share of a map's maximum belongs to the mask (paper: .3).
        blend_start: From which part of the run on the blend acts (paper: .2).
        spare: A word whose places are cut out of the mask.
        tail: What replace does behind a swap of unequal lengths: fixed, or official (the release's, which shifts).
        guidance: Guidance scale; the default is the inversion's.
    Raises:
        InputError: a word that is in no prompt, a window that acts at no step, replace for prompts of unequal counts.
        WrongBase: the inversion does not fit this base.
    """
    settings = told(locals())
    prompts = targets_of(base, inversion, prompt)
    if not blend:
        require_heard(prompt_to_prompt, settings, BLENDING, "it is of a blend, name blend words")
    if self_until == self_from:
        require_heard(prompt_to_prompt, settings, ["self_up_to"], "no self maps are injected")
    use = Settings(
        cross=Window(cross_from, cross_until),
        own=[Window(self_from, self_until)],
        mode=mode,
        tail=tail,
        words=words_with_windows(cross_words, "cross_words"),
        louder=words_with_numbers(louder, "louder"),
        up_to=self_up_to,
        blend=Blend(listed(blend), blend_from, blend_threshold, blend_start, listed(spare)),
    )
    plan = planned(base, inversion, prompts, use, guidance=guidance)
    return carried_out(base, inversion, plan, method="prompt-to-prompt", settings=settings, tell=on_progress)


def listed(words: Sequence[str]) -> tuple[str, ...]:
    """One word or several, as several."""
    return (words,) if isinstance(words, str) else tuple(words)
