"""What clip-t, clipscore and text-similarity share: the cosine of each picture with its own prompt."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from motif.errors import InputError
from motif.features.extractors import ClipEncoder, PromptPolicy, cosines
from motif.tokens import without_tokens


@dataclass(frozen=True)
class Prompted:
    """The raw cosine of every picture with its prompt, and what was chosen on the way."""

    cosines: tuple[float, ...]
    choices: dict[str, object]

    @property
    def mean(self) -> float:
        return math.fsum(self.cosines) / len(self.cosines)

    def scaled(self, scale: float) -> tuple[float, ...]:
        """scale · max(cos, 0): no value is negative, and NaN stays NaN, which Score refuses."""
        return tuple(scale * cosine if not cosine < 0 else 0.0 for cosine in self.cosines)


def prompted(
    pictures: Sequence[Path | Image.Image],
    prompts: str | Sequence[str],
    encoder: ClipEncoder,
    *,
    policy: PromptPolicy,
    prefix: str = "",
    brackets: bool = True,
    batch_size: int = 32,
) -> Prompted:
    """Cosines of pictures with their prompts; `brackets` False drops [ and ], which PIE-Bench marks edits with."""
    texts = [prefix + text for text in _texts(prompts, len(pictures), policy, brackets=brackets)]
    unique = list(dict.fromkeys(texts))
    words = encoder.texts(unique, batch_size=batch_size)  # [prompt, channel]
    pairs = cosines(encoder.images(pictures, batch_size=batch_size), words)  # [image, prompt]
    raw = tuple(float(pairs[i, unique.index(text)]) for i, text in enumerate(texts))
    said = "stripped" if policy == "strip" else "kept as spelled"
    choices: dict[str, object] = {
        **encoder.choices(),
        "prompts": f"{len(unique)} different, concept tokens <...> {said}, "
        + (f'prefix "{prefix}"' if prefix else "no prefix")
        + ("" if brackets else ", [brackets] dropped"),
        "pooled at": "first end-of-text token",
        "cut prompts": sum(encoder.tokens(text) > encoder.longest for text in unique),
        "standard error": "over generated pictures",
    }
    return Prompted(raw, choices)


def require_prompts(prompts: str | Sequence[str], n: int, policy: PromptPolicy) -> None:
    """InputError, before an encoder is read, for prompts that cannot be compared with so many pictures."""
    _texts(prompts, n, policy)


def _texts(prompts: str | Sequence[str], n: int, policy: PromptPolicy, *, brackets: bool = True) -> list[str]:
    """The prompts as they are encoded, one per picture."""
    if policy not in ("strip", "keep"):
        raise InputError(f"prompt policy {policy!r}: use strip or keep")
    given = [prompts] * n if isinstance(prompts, str) else list(prompts)
    if len(given) != n:
        raise InputError(f"{len(given)} prompts for {n} pictures: give one for all, or one per picture")
    texts = [without_tokens(prompt) if policy == "strip" else prompt for prompt in given]
    texts = texts if brackets else [re.sub(r"[\[\]]", "", text) for text in texts]
    for prompt, text in zip(given, texts, strict=True):
        if not text.strip():
            raise InputError(
                f"prompt {prompt!r} is empty without its concept token: nothing to compare pictures with"
            )
    return texts
