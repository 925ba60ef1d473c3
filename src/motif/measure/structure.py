"""Structure distance: has an edit kept the layout of its source?

    d = mean over i, j of (S_x[i, j] − S_y[i, j])²                S: self-similarity of DINO's keys (`features.keys`)

Splice (Tumanyan et al. 2022); DINO ViT-B/8, last block, keys of all heads; editing card, 14.2. StyleDiffusion gives d,
PnPInversion d x 10³, and of inputs up to 255 in place of 1: `input_range="pnp"` does the same.
"""

from pathlib import Path

from motif.errors import InputError
from motif.features.extractors import DinoEncoder
from motif.features.keys import RANGES, InputRange, self_similarity
from motif.features.pictures import Pictures
from motif.measure.pairs import pairs
from motif.measure.score import Score

PAPER = "facebook/dino-vitb8"


def structure(
    images: Pictures,
    sources: Pictures,
    *,
    encoder: str | Path | DinoEncoder = "pocket",
    input_range: InputRange = "unit",
    device: str = "cpu",
) -> Score:
    """Distance of edited pictures' structure from their sources', by DINO's keys; 0 is the same layout.

    A loaded DinoEncoder in an encoder's place spares reading it again for every score.

    Args:
        images: the edited pictures: a folder, files, or PIL pictures.
        sources: what each was before, by name or in order; or one for all.
        encoder: `pocket`, `paper` (DINO ViT-B/8), a folder or a hub id.
        input_range: `unit` gives DINO pixels in [0, 1], as it was trained; `pnp` in [0, 255], as PnPInversion's
            tables.
        device: where the encoder computes: cpu, cuda, cuda:1...

    Raises:
        InputError: pictures that do not pair, an unreadable one, a very narrow one.
        MissingModel: the encoder is not on this machine.
    """
    if input_range not in RANGES:
        raise InputError(f"input range {input_range!r}: use unit or pnp")
    found, how = pairs(images, sources)
    if isinstance(encoder, DinoEncoder):
        loaded = encoder
    else:
        loaded = DinoEncoder.load(PAPER if str(encoder) == "paper" else encoder, device=device)
    values: list[float] = []
    for pair in found:
        x, y = (self_similarity(loaded, picture, input_range=input_range) for picture in pair.pixels())
        values.append(float((x - y).square().mean()))
    choices: dict[str, object] = {
        **loaded.choices(),
        "preprocessing": f"whole frame, shorter side to {loaded.model.config.image_size} px, bilinear without "
        f"antialiasing, mean and std {loaded.preprocessing.mean} and {loaded.preprocessing.std}",
        "features": "keys of the last block, all heads and CLS; cosine self-similarity",
        "input range": f"[0, {RANGES[input_range]:g}]",
        "pairs": f"each picture with its source, {how}",
        "scale": 1.0,
        "standard error": "over edited pictures",
    }
    score = Score("structure", tuple(values), choices, images=tuple(pair.name for pair in found))
    return score.with_also({"x 10^3": score.mean * 1e3})
