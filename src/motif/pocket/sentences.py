"""Banks of sentences in pocket's grammar that differ in one word, for an edit direction (pix2pix-zero).

Sentence i of two words has the same style, object and place: a noun takes the object's place, a colour stands
before it.
"""

from __future__ import annotations

import numpy as np

from motif.errors import InputError
from motif.pocket.world.phrases import PLACES, PREFIXES
from motif.pocket.world.scene import COLOURS, NOUNS, pick


def sentences(word: str, count: int = 100, *, seed: int = 0) -> list[str]:
    """`count` captions with a noun or a colour of pocket's world. InputError for another word."""
    if word not in (*NOUNS, *COLOURS):
        raise InputError(
            f'pocket\'s world has no "{word}": name a .txt file of captions, or one of {", ".join((*NOUNS, *COLOURS))}'
        )
    found: list[str] = []
    for index in range(count):
        rng = np.random.default_rng([seed, index])
        prefix = pick(rng, PREFIXES["photo"])
        noun = pick(rng, NOUNS)
        place = pick(rng, PLACES[pick(rng, tuple(PLACES))])
        thing = word if word in NOUNS else f"{word} {noun}"
        article = "an" if thing[0] in "aeio" else "a"
        found.append(f"{prefix} {article} {thing} {place}".strip())
    return found
