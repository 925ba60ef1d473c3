"""DINO-I, image alignment by a self-supervised ViT: do the pictures show this very object, not just its
class?

    s_i = 1/m Σⱼ cos(f(xᵢ), f(rⱼ))        DINO-I = 1/n Σᵢ s_i

the mean of all n x m pairwise cosines of CLS features. DreamBooth (Ruiz et al. 2023) brought it in; here as
in CustomConcept101's evaluation: DINO ViT-S/16, resize 256 bicubic, centre crop 224; customization card, 4.2.
"""

from pathlib import Path

from motif.features.extractors import DinoEncoder
from motif.features.pictures import Pictures
from motif.measure.alignment import alignment
from motif.measure.score import Score


def dino_i(
    images: Pictures,
    references: Pictures,
    *,
    encoder: str | Path | DinoEncoder = "pocket",
    batch_size: int = 32,
    device: str = "cpu",
) -> Score:
    """Mean cosine of generated pictures with references, by DINO; one value per generated picture.

    A loaded DinoEncoder in an encoder's place spares reading it again for every score.

    Args:
        images: the generated pictures: a folder, files, or PIL pictures; n of the score counts these.
        references: the photos of the object, likewise.
        encoder: `pocket`, `paper` (DINO ViT-S/16), a folder or a hub id.
        batch_size: pictures encoded at a time; changes no value beyond rounding (1e-6).
        device: where the encoder computes: cpu, cuda, cuda:1...

    Raises:
        InputError: no pictures, an unreadable one, or one without a finite feature.
        MissingModel: the encoder is not on this machine.
    """
    loaded = encoder if isinstance(encoder, DinoEncoder) else DinoEncoder.load(encoder, device=device)
    return alignment("dino-i", images, references, encoder=loaded, batch_size=batch_size)
