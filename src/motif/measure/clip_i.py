"""CLIP-I, image alignment: do the pictures show the references' object?

    s_i = 1/m Σⱼ cos(f(xᵢ), f(rⱼ))        CLIP-I = 1/n Σᵢ s_i

the mean of ALL n x m pairwise cosines of CLIP features, generated x against reference r; raw, no factor.
Custom Diffusion (Kumari et al. 2023), evaluate.py; customization card, 4.2. The paper's encoder is CLIP
ViT-B/32; for two concepts score each reference set alone and average the two.
"""

from pathlib import Path

from motif.features.extractors import ClipEncoder
from motif.features.pictures import Pictures
from motif.measure.alignment import alignment
from motif.measure.score import Score


def clip_i(
    images: Pictures,
    references: Pictures,
    *,
    encoder: str | Path | ClipEncoder = "pocket",
    batch_size: int = 32,
    device: str = "cpu",
) -> Score:
    """Mean cosine of generated pictures with references, by CLIP; one value per generated picture.

    A loaded ClipEncoder in an encoder's place spares reading it again for every score.

    Args:
        images: the generated pictures: a folder, files, or PIL pictures; n of the score counts these.
        references: the photos of the object, likewise.
        encoder: `pocket`, `paper` (CLIP ViT-B/32), a folder or a hub id.
        batch_size: pictures encoded at a time; changes no value beyond rounding (1e-6).
        device: where the encoder computes: cpu, cuda, cuda:1...

    Raises:
        InputError: no pictures, an unreadable one, or one without a finite feature.
        MissingModel: the encoder is not on this machine.
    """
    loaded = encoder if isinstance(encoder, ClipEncoder) else ClipEncoder.load(encoder, device=device)
    return alignment("clip-i", images, references, encoder=loaded, batch_size=batch_size)
