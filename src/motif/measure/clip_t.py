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
from motif.features.extractors import ClipEncoder, PromptPolicy
from motif.features.pictures import Pictures, gather, names
from motif.measure.prompted import prompted, require_prompts
from motif.measure.score import Score


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
    require_prompts(prompts, len(generated), policy)
    loaded = encoder if isinstance(encoder, ClipEncoder) else ClipEncoder.load(encoder, device=device)
    found = prompted(generated, prompts, loaded, policy=policy, batch_size=batch_size)
    return Score(
        "clip-t",
        found.scaled(scale),
        {**found.choices, "scale": scale},
        {"raw cosine": found.mean},
        names(generated),
    )
