"""Small photos and their inversions; prompts cut into tokens by hand."""

from __future__ import annotations

from typing import Any

from PIL import Image

from motif.text import Tokens

STEPS = 4
SOURCE = "a cat on sea"


def photo(seed: int = 0, size: tuple[int, int] = (16, 16)) -> Image.Image:
    """A smooth random picture of (h, w) pixels."""
    import numpy as np

    small = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    return Image.fromarray(small).resize((size[1], size[0]), Image.Resampling.BICUBIC)


def inverted(
    base: Any, method: str = "ddim", photos: Any = None, prompt: Any = SOURCE, **settings: Any
) -> Any:
    """An inversion in few steps, quickly fitted."""
    from motif import methods

    few = {
        "null-text": {"inner_steps": 2},
        "null-text-plus": {"inner_steps": 2},
        "text-embedding": {"inner_steps": 2},
        "value-embedding": {"inner_steps": 2, "encoder": "pocket", "until": 1.0},
    }
    told = {"steps": STEPS, "guidance": 3.0, **few.get(method, {}), **settings}
    return methods.load("invert", method)(base, photos if photos is not None else photo(), prompt, **told)


LENGTH = 20


def tokens(prompt: str, sizes: dict[str, int] | None = None) -> Tokens:
    """One token a word, or as many as `sizes` says; ids by spelling."""
    ids, chars, at = [1], [None], 0
    for word in prompt.split():
        start = prompt.index(word, at)
        at = start + len(word)
        for i in range((sizes or {}).get(word, 1)):
            ids.append(int.from_bytes(word.encode()) * 8 + i + 10)
            chars.append((start, at))
    end = len(ids)
    rest = LENGTH - end
    return Tokens(prompt, (*ids, *[2] * rest), (*chars, *[None] * rest), (), end)
