"""Custom-Edit: put a learned concept into a photo, and leave the rest of the photo alone.

    refine (never replace): the learned words keep their own maps       mask: B(m_source) alone
    strength = the part of the run with injected self maps: more is nearer to the source

Choi et al. 2023 (arXiv 2305.15779), section 3; card 7: null-text inversion wearing the concept, then Prompt-to-Prompt
as above, strength .2 to .8, cross .2 or .6. Ours: all strengths walk in one run beside one source; `auto` picks the one
that stands best between the photo and the concept, both measured from 0 (how alike they are to begin with) to 1:

    s(x) = (cos(x, photo) − c) / (1 − c),   r(x) = (cos(x, refs) − c) / (cos(refs, refs) − c),   c = cos(photo, refs)
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

from motif.base import Base
from motif.edit.alignment import dropped, holds
from motif.edit.edited import Edited
from motif.edit.planned import Blend, Settings, planned
from motif.edit.prompt_to_prompt import listed
from motif.edit.run import Source, carried_out, targets_of, told
from motif.edit.windows import Window, words_with_numbers
from motif.errors import InputError, require_heard
from motif.progress import Progress

if TYPE_CHECKING:
    from PIL.Image import Image


def custom_edit(
    base: Base,
    inversion: Source,
    prompt: str,
    *,
    strength: float | None = None,
    strengths: str | Sequence[float] = "",
    cross_until: float = 0.6,
    blend: Sequence[str] = (),
    whole: bool = False,
    blend_threshold: float = 0.3,
    blend_start: float = 0.2,
    louder: Sequence[str] = (),
    auto: bool = False,
    references: str | Path | Sequence[Path] = "",
    encoder: str = "",
    guidance: float | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> Edited:
    """Put a learned concept into a photo: the base wears it, and the target prompt names it where the source did not.

    Args:
        strength: The part of the run in which self maps are injected: more keeps more of the photo (paper: .4 to .6;
            the default is .4). SDEdit's strength runs the opposite way.
        strengths: Several at once, as .2,.4,.6,.8: one picture each, of one run.
        cross_until: Until which part of the run the cross maps of common words are injected (paper: .2 or .6).
        blend: A word of the source in whose place the concept goes; the default is the concept's noun where the source
            says it, else the words that the target drops.
        whole: No mask: the whole picture may change (paper: for styles, as a pencil drawing).
        blend_threshold: What share of a map's maximum belongs to the mask.
        blend_start: From which part of the run on the mask acts.
        louder: WORD=FACTOR multiplies a target word's map while cross maps are injected.
        auto: Keep the one of the strengths (.2,.4,.6,.8 where none are given) that is most like photo and references.
        references: The concept's photos, a folder, for auto.
        encoder: The CLIP that judges for auto: pocket, paper (ViT-B/32), a folder or a hub id; the default is pocket's
            on pocket, and the paper's elsewhere.
        guidance: Guidance scale; the default is the inversion's.
    Raises:
        InputError: no concept is worn or named, no word to blend by, auto without references.
        WrongBase: the inversion was not made wearing what is worn.
    """
    settings = told(locals())
    (target,) = targets_of(base, inversion, prompt)
    _named(base, target)
    values = _strengths(strength, strengths, auto)
    judge = _judge(base, references, encoder) if auto else None
    if not auto and (references or encoder):
        raise InputError("references and encoder are of auto: add it, or drop them")
    if whole:
        require_heard(
            custom_edit, settings, ["blend", "blend_threshold", "blend_start"], "whole is without a mask"
        )
    words = () if whole else listed(blend) or _default_words(base, inversion, target)
    use = Settings(
        cross=Window(0.0, cross_until),
        own=[Window(0.0, value) for value in values],
        mode="refine",
        louder=words_with_numbers(louder, "louder"),
        blend=Blend(words, "source", blend_threshold, blend_start),
    )
    plan = planned(base, inversion, (target,) * len(values), use, guidance=guidance)
    labels = [f"strength {value:g}" for value in values]
    found = carried_out(
        base, inversion, plan, method="custom-edit", settings=settings, tell=on_progress, labels=labels
    )
    return found if judge is None else _picked(found, values, judge)


def _named(base: Base, target: str) -> None:
    if not base.concepts:
        raise InputError("custom-edit puts a learned concept into a photo: wear one (--wear)")
    if base.vectors and not any(token in target for token in base.vectors):
        token = next(iter(base.vectors))
        raise InputError(f'the target "{target}" does not name {token}: write it where the concept goes')


def _strengths(one: float | None, several: str | Sequence[float], auto: bool) -> list[float]:
    try:
        parts = [part for part in several.split(",") if part.strip()] if isinstance(several, str) else several
        found = [float(part) for part in parts]
    except ValueError:
        raise InputError(f"strengths {several!r}: numbers with commas between them, as .2,.4,.6,.8") from None
    if one is not None and (found or auto):
        raise InputError("strength is of one picture: leave it out, or strengths and auto")
    found = found or ([0.2, 0.4, 0.6, 0.8] if auto else [0.4 if one is None else one])
    for value in found:
        if not 0 <= value <= 1:
            raise InputError(
                f"strength is {value:g}: it lies between 0 (free) and 1 (the source's shape to the end)"
            )
    return found


def _default_words(base: Base, inversion: Source, target: str) -> list[str]:
    """The concept's nouns where the source says them, else what the target no longer says."""
    with_text = base.tokenise([*inversion.prompts, target])[0]
    before, after = with_text[:-1], with_text[-1]
    nouns = [noun for token, noun in base.nouns.items() if token in target and noun]
    found = [noun for noun in nouns if all(holds(tokens, noun) for tokens in before)]
    found = found or [word for word in dropped(before[0], after) if all(holds(t, word) for t in before)]
    if not found:
        raise InputError(
            f'no word of the source "{inversion.prompts[0]}" tells where the concept goes: name one (blend), or let '
            "the whole picture change (whole)"
        )
    return found


# -- choosing --------------------------------------------------------------------------------------------------


def _judge(base: Base, references: str | Path | Sequence[Path], encoder: str) -> tuple[Any, Any]:
    """(the encoder, the references' features): read before the run."""
    from motif.features.extractors import ClipEncoder
    from motif.features.pictures import gather

    if not references:
        raise InputError("auto compares with the concept's photos: name their folder (references)")
    name = encoder or ("pocket" if base.name == "pocket" else "paper")
    loaded = ClipEncoder.load(name, device=str(base.device))
    folder = references if isinstance(references, str | Path) else list(references)
    return loaded, loaded.images(gather(folder, "references"))


def _picked(found: Edited, values: Sequence[float], judge: tuple[Any, Any]) -> Edited:
    """The edit with one strength alone, and the reason."""
    encoder, refs = judge
    sources, n = found.sources or found.reconstructions, len(found.images) // len(values)
    each = [likeness(encoder, image, [sources[i % n]], refs) for i, image in enumerate(found.images)]
    rows = [
        [fmean(column) for column in zip(*each[i * n : (i + 1) * n], strict=True)] for i in range(len(values))
    ]
    best = max(range(len(values)), key=lambda i: (rows[i][2], rows[i][1]))
    lines = [
        f"strength {value:g}: source {s:.2f}, reference {r:.2f}, both {both:.2f}{'  <- picked' * (i == best)}"
        for i, (value, (s, r, both)) in enumerate(zip(values, rows, strict=True))
    ]
    why = "0 is as alike as photo and references are to one another, 1 is one of them; both is the harmonic mean"
    if not rows[best][2]:
        why += "; no strength came nearer to the references than the photo is: the least far of them is kept"
    return dataclasses.replace(
        found,
        images=found.images[best * n : (best + 1) * n],
        prompts=(found.prompts[best],),
        latents=found.latents[best : best + 1],
        masks=None if found.masks is None else found.masks[best : best + 1],
        labels=(found.labels[best],),
        why="\n".join([*lines, why]),
    )


def likeness(encoder: Any, image: Image, sources: Sequence[Image], refs: Any) -> tuple[float, float, float]:
    """(likeness to the source, likeness to the references, their harmonic mean): 1 at most, the mean 0 at least."""
    from motif.features.extractors import cosines

    mine, source = encoder.images([image]), encoder.images([sources[0]])
    floor = float(cosines(source, refs).mean())
    among = cosines(refs, refs)
    n = len(refs)
    ceiling = float((among.sum() - n) / (n * (n - 1))) if n > 1 else 1.0
    s = (float(cosines(mine, source).mean()) - floor) / max(1 - floor, 1e-6)
    r = (float(cosines(mine, refs).mean()) - floor) / max(ceiling - floor, 1e-6)
    s, r = min(s, 1.0), min(r, 1.0)
    return s, r, 2 * s * r / (s + r) if min(s, r) > 0 else 0.0
