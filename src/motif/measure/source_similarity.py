"""Source similarity of edits: how much of its own source does an edited picture keep?

    s_i = cos(f(xᵢ), f(source of xᵢ))                                                       CLIP ViT-B/32, raw

Custom-Edit (Choi et al. 2023; editing card, 14.1): the curve against reference-similarity, one point per strength.
"""

from pathlib import Path

from motif.features.extractors import ClipEncoder, paired_cosines
from motif.features.pictures import Pictures
from motif.measure.pairs import pairs
from motif.measure.score import Score


def source_similarity(
    images: Pictures,
    sources: Pictures,
    *,
    encoder: str | Path | ClipEncoder = "pocket",
    batch_size: int = 32,
    device: str = "cpu",
) -> Score:
    """Cosine of edited pictures with their own sources, by CLIP; one value per picture.

    A loaded ClipEncoder in an encoder's place spares reading it again for every score.

    Args:
        images: the edited pictures: a folder, files, or PIL pictures.
        sources: what each was before, by name or in order; or one for all.
        encoder: `pocket`, `paper` (CLIP ViT-B/32), a folder or a hub id.
        batch_size: pictures encoded at a time; changes no value beyond rounding (1e-6).
        device: where the encoder computes: cpu, cuda, cuda:1...

    Raises:
        InputError: pictures that do not pair, an unreadable one, or one without a finite feature.
        MissingModel: the encoder is not on this machine.
    """
    found, how = pairs(images, sources)
    loaded = encoder if isinstance(encoder, ClipEncoder) else ClipEncoder.load(encoder, device=device)
    x, y = (
        loaded.images(some, batch_size=batch_size)
        for some in ([pair.image for pair in found], [pair.source for pair in found])
    )
    choices: dict[str, object] = {
        **loaded.choices(),
        "pairs": f"each picture with its source, {how}",
        "scale": 1.0,
        "standard error": "over edited pictures",
    }
    values = tuple(float(value) for value in paired_cosines(x, y))
    return Score("source-similarity", values, choices, images=tuple(pair.name for pair in found))
