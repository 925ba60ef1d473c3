"""CLIP-T, text alignment: do the pictures show what the prompts say?

    s_i = w · max(cos(f(xᵢ), g(pᵢ)), 0)        CLIP-T = 1/n Σᵢ s_i        w = 2.5

CLIPScore (Hessel et al. 2021) as Custom Diffusion reports it: CLIP ViT-B/32, w = 2.5, no "A photo depicts"
prefix, the concept's token REMOVED from the prompt ("a <new1> cat" is scored as "a cat"); customization
card, 4.2. Tables of other papers give the raw cosine (.795 here is .318 there): it stands beside the score
as `also["raw cosine"]`, unclipped.
"""

import math
from collections.abc import Sequence
from pathlib import Path

from motif.errors import InputError
from motif.features.extractors import ClipEncoder, PromptPolicy, cosines
from motif.features.pictures import Pictures, gather, names
from motif.measure.score import Score
from motif.tokens import without_tokens


def clip_t(
    images: Pictures,
    prompts: str | Sequence[str],
    *,
    encoder: str | Path | ClipEncoder = "pocket",
    scale: float = 2.5,
    policy: PromptPolicy = "strip",
    batch_size: int = 32,
    device: str = "cpu",
) -> Score:
    """Mean CLIPScore of generated pictures with their prompts; one value per picture, never negative.

    A loaded ClipEncoder in an encoder's place spares reading it again for every score.

    Args:
        images: the generated pictures: a folder, files, or PIL pictures.
        prompts: one for all pictures, or one per picture in their order.
        encoder: `pocket`, `paper` (CLIP ViT-B/32), a folder or a hub id.
        scale: w; 2.5 is CLIPScore's, 1 leaves the cosine (clipped at 0).
        policy: `strip` removes concept tokens (`<...>`) from the prompts; `keep` encodes them as they are
            spelled.
        batch_size: pictures encoded at a time; changes no value beyond rounding (1e-6).
        device: where the encoder computes: cpu, cuda, cuda:1...

    Raises:
        InputError: no pictures, an unreadable one, a count of prompts that fits neither, or an empty prompt.
        MissingModel: the encoder is not on this machine.
    """
    if not (math.isfinite(scale) and scale > 0):
        raise InputError(f"scale {scale}: use a number above 0 (CLIPScore's is 2.5)")
    generated = gather(images, "generated pictures")
    texts = _texts(prompts, len(generated), policy)
    loaded = encoder if isinstance(encoder, ClipEncoder) else ClipEncoder.load(encoder, device=device)
    unique = list(dict.fromkeys(texts))
    words = loaded.texts(unique, batch_size=batch_size)  # [prompt, channel]
    pairs = cosines(loaded.images(generated, batch_size=batch_size), words)  # [image, prompt]
    raw = [float(pairs[i, unique.index(text)]) for i, text in enumerate(texts)]
    choices: dict[str, object] = {
        **loaded.choices(),
        "prompts": f"{len(unique)} different, {_policy(policy)}, no prefix",
        "pooled at": "first end-of-text token",
        "cut prompts": sum(loaded.tokens(text) > loaded.longest for text in unique),
        "scale": scale,
        "standard error": "over generated pictures",
    }
    # max(nan, 0) depends on the order of its arguments: nan stays nan here, and Score refuses it
    values = tuple(scale * cosine if not cosine < 0 else 0.0 for cosine in raw)
    return Score("clip-t", values, choices, {"raw cosine": math.fsum(raw) / len(raw)}, names(generated))


def _texts(prompts: str | Sequence[str], n: int, policy: PromptPolicy) -> list[str]:
    """The prompts as they are encoded, one per picture."""
    if policy not in ("strip", "keep"):
        raise InputError(f"prompt policy {policy!r}: use strip or keep")
    given = [prompts] * n if isinstance(prompts, str) else list(prompts)
    if len(given) != n:
        raise InputError(f"{len(given)} prompts for {n} pictures: give one for all, or one per picture")
    texts = [without_tokens(prompt) if policy == "strip" else prompt for prompt in given]
    for prompt, text in zip(given, texts, strict=True):
        if not text.strip():
            raise InputError(
                f"prompt {prompt!r} is empty without its concept token: nothing to compare pictures with"
            )
    return texts


def _policy(policy: PromptPolicy) -> str:
    return "concept tokens <...> stripped" if policy == "strip" else "concept tokens kept as spelled"
