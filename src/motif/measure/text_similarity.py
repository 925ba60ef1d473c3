"""Text similarity of edits: does the edited picture show the target prompt?

    s_i = cos(f(xᵢ), g(pᵢ without V*))                                      CLIP ViT-B/32, raw: no factor, no clip

Custom-Edit (Choi et al. 2023; editing card, 14.1), one of its three curves beside source-similarity and
reference-similarity. `clip-t` is the same cosine clipped and times 2.5.
"""

from collections.abc import Sequence
from pathlib import Path

from motif.features.extractors import ClipEncoder, PromptPolicy
from motif.features.pictures import Pictures, gather, names
from motif.measure.prompted import prompted, require_prompts
from motif.measure.score import Score


def text_similarity(
    images: Pictures,
    prompts: str | Sequence[str],
    *,
    encoder: str | Path | ClipEncoder = "pocket",
    policy: PromptPolicy = "strip",
    batch_size: int = 32,
    device: str = "cpu",
) -> Score:
    """Cosine of edited pictures with their target prompts, by CLIP; one value per picture.

    A loaded ClipEncoder in an encoder's place spares reading it again for every score.

    Args:
        images: the edited pictures: a folder, files, or PIL pictures.
        prompts: the target prompt of all pictures, or one per picture in their order.
        encoder: `pocket`, `paper` (CLIP ViT-B/32), a folder or a hub id.
        policy: `strip` removes concept tokens (`<...>`) from the prompts; `keep` encodes them as they are
            spelled.
        batch_size: pictures encoded at a time; changes no value beyond rounding (1e-6).
        device: where the encoder computes: cpu, cuda, cuda:1...

    Raises:
        InputError: no pictures, an unreadable one, a count of prompts that fits neither, or an empty prompt.
        MissingModel: the encoder is not on this machine.
    """
    edited = gather(images, "edited pictures")
    require_prompts(prompts, len(edited), policy)
    loaded = encoder if isinstance(encoder, ClipEncoder) else ClipEncoder.load(encoder, device=device)
    found = prompted(edited, prompts, loaded, policy=policy, brackets=False, batch_size=batch_size)
    return Score("text-similarity", found.cosines, {**found.choices, "scale": 1.0}, images=names(edited))
