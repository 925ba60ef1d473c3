"""What clip-i and dino-i share: the mean of all pairwise cosines, generated x references."""

from motif.features.extractors import ClipEncoder, DinoEncoder, cosines
from motif.features.pictures import Pictures, gather, names
from motif.measure.score import Score


def alignment(
    name: str, images: Pictures, references: Pictures, *, encoder: ClipEncoder | DinoEncoder, batch_size: int
) -> Score:
    """s_i = mean over references of cos(f(x_i), f(r_j)); see `clip_i` and `dino_i`."""
    generated, wanted = gather(images, "generated pictures"), gather(references, "reference pictures")
    f, r = (encoder.images(pictures, batch_size=batch_size) for pictures in (generated, wanted))
    pairs = cosines(f, r)  # [image, reference]
    choices: dict[str, object] = {
        **encoder.choices(),
        "pairs": f"all {len(generated)} x {len(wanted)}, generated x references",
        "scale": 1.0,
        "standard error": "over generated pictures",
    }
    return Score(name, tuple(float(value) for value in pairs.mean(1)), choices, images=names(generated))
