"""Reference similarity of edits: does the edited picture show the concept's object?

    s_i = 1/m Σⱼ cos(f(xᵢ), f(rⱼ))                                                          CLIP ViT-B/32, raw

Custom-Edit (Choi et al. 2023; editing card, 14.1): the same mean over the reference photos as CLIP-I, of edits.
"""

from pathlib import Path

from motif.features.extractors import ClipEncoder
from motif.features.pictures import Pictures
from motif.measure.alignment import alignment
from motif.measure.score import Score


def reference_similarity(
    images: Pictures,
    references: Pictures,
    *,
    encoder: str | Path | ClipEncoder = "pocket",
    batch_size: int = 32,
    device: str = "cpu",
) -> Score:
    """Mean cosine of edited pictures with the concept's photos, by CLIP; one value per picture.

    A loaded ClipEncoder in an encoder's place spares reading it again for every score.

    Args:
        images: the edited pictures: a folder, files, or PIL pictures.
        references: the photos of the object, likewise.
        encoder: `pocket`, `paper` (CLIP ViT-B/32), a folder or a hub id.
        batch_size: pictures encoded at a time; changes no value beyond rounding (1e-6).
        device: where the encoder computes: cpu, cuda, cuda:1...

    Raises:
        InputError: no pictures, an unreadable one, or one without a finite feature.
        MissingModel: the encoder is not on this machine.
    """
    loaded = encoder if isinstance(encoder, ClipEncoder) else ClipEncoder.load(encoder, device=device)
    return alignment("reference-similarity", images, references, encoder=loaded, batch_size=batch_size)
