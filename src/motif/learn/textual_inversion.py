"""Textual Inversion: a concept in the vectors of a new word alone.

    v* = argmin_v E ‖ ε − ε_θ(x_t, t, c(y, v)) ‖²          y one of 27 templates around the word, drawn per photo

Gal et al. 2022 (arXiv 2208.01618), section 4; card 6. Everything but v is frozen. Ours beyond the paper: several
vectors start from the tokens of a phrase, the word may stand before its noun, and a prior is allowed.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal, Unpack

from motif.base import Base
from motif.errors import InputError
from motif.learn.examples import Examples
from motif.learn.lesson import Lesson
from motif.learn.recipes import WHOLE
from motif.learn.starts import class_prompts, phrase_rows, require_word
from motif.learn.trained import Rates
from motif.learn.training import Training, method

PAPER = {"steps": 5000, "batch_size": 4, "lr": 5e-3, "prior_count": 200, "prior_steps": 50, "masked": False}
"""The paper's numbers (card 6); the rate is multiplied by the batch."""

_PLAIN = "a photo of a|a photo of a clean|a photo of a dirty|a photo of my|a photo of the cool|a photo of the|" \
    "a photo of one|a photo of the clean|a photo of a nice|a photo of the nice|a photo of the small|" \
    "a photo of the weird|a photo of the large|a photo of a cool|a photo of a small"  # fmt: skip
_OTHER = "a rendering of a|a cropped photo of the|the photo of a|a dark photo of the|a close-up photo of a|" \
    "a bright photo of the|a cropped photo of a|a good photo of the|a close-up photo of the|a rendition of the|" \
    "a rendition of a|a good photo of a"  # fmt: skip
_STYLE = "a painting|a rendering|a cropped painting|the painting|a clean painting|a dirty painting|a dark painting|" \
    "a picture|a cool painting|a close-up painting|a bright painting|a cropped painting|a good painting|" \
    "a close-up painting|a rendition|a nice painting|a small painting|a weird painting|a large painting"  # fmt: skip

TEMPLATES = {
    "object": tuple(f"{words} " for words in f"{_PLAIN}|{_OTHER}".split("|")),
    "style": tuple(f"{words} in the style of " for words in _STYLE.split("|")),
}
"""What stands before the word; two of the style's are published twice, and have double weight."""


@method("textual-inversion", PAPER, prior="none")
def textual_inversion(
    base: Base,
    examples: Examples,
    *,
    vectors: int = 1,
    initial: str = "",
    templates: Literal["object", "style"] = "object",
    **training: Unpack[Training],
) -> Lesson:
    """Learn a word from a few photos by Textual Inversion: its vectors, and nothing else.

    The prompt says what stands in the templates: "photo of a <new1>" as in the paper, where the word is the whole name,
    or "photo of a <new1> cat", where its noun follows it. Photos' own captions are not used.

    Args:
        vectors: How many vectors the word has (paper: 1).
        initial: The phrase that they start from; the default is the noun. A phrase of as many tokens as vectors gives
            each its row of the token table; of another number, each starts from the mean of the rows.
        templates: What is said of the photos: object (27 templates) or style (19).
    """
    token, phrase = require_word(examples, "textual-inversion"), initial or examples.noun
    if vectors < 1:
        raise InputError(f"vectors {vectors}: a word has at least one")
    if not phrase:
        raise InputError(f"what {token} starts from is not said: give --initial, such as the class word")
    if others := [other for other in examples.tokens if other != token]:
        raise InputError(f"the prompt names {others[0]} too, and textual-inversion learns one word")
    recipe = replace(WHOLE, resizing=replace(WHOLE.resizing, plain=TEMPLATES[templates]))
    return Lesson(
        recipe,
        Rates(weights=0.0, words=training.get("lr") or 0.0, word_decay=1e-2),
        [class_prompts(examples, recipe) or [recipe.class_prompt.format(phrase)]],
        words={token: phrase_rows(base, phrase, vectors)},
        captions=[[examples.phrase] * len(examples)],
    )
