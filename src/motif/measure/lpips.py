"""LPIPS of a picture and its source: how different they look.

    d = LPIPS(2x − 1, 2y − 1)                                     whole; or of 2 x P − 1 and 2 y P − 1 in a region P

Zhang et al. 2018 (`motif.features.perceptual`). PnPInversion measures with SqueezeNet on whole frames in which all but
the region is 0 (editing card, 14.3), and so does the region here; its tables give LPIPS x 10³.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from motif.features.perceptual import Perceptual
from motif.features.pictures import Pictures
from motif.measure.pairs import Region
from motif.measure.pixels import compared
from motif.measure.score import Score

if TYPE_CHECKING:
    from torch import Tensor


def lpips(
    images: Pictures,
    sources: Pictures,
    *,
    encoder: str | Path | Perceptual = "pocket",
    masks: Pictures | None = None,
    region: Region = "whole",
    device: str = "cpu",
) -> Score:
    """Perceptual distance of pictures and their sources; 0 is equal.

    A loaded Perceptual in an encoder's place spares reading it again for every score.

    Args:
        images: the edited pictures: a folder, files, or PIL pictures.
        sources: what each was before, by name or in order; or one for all.
        encoder: `squeeze`, `alex` or `vgg` (LPIPS), `paper` (squeeze), or `pocket`: LPIPS's form over pocket's DINO.
        masks: where the edit belongs, in white: a folder, a file; the default is NAME-mask.png beside the sources.
        region: the whole picture; or inside or outside of the mask, with the rest set to 0.
        device: where the network computes: cpu, cuda, cuda:1...

    Raises:
        InputError: pictures that do not pair, a mask that is missing, no picture with a value.
        MissingModel: the network is not on this machine.
    """
    loaded = Perceptual.load(encoder, paper="squeeze", device=device)

    def distance(x: "Tensor", y: "Tensor", kept: "Tensor | None") -> float:
        return loaded.distance(2 * x - 1, 2 * y - 1)

    score = compared(
        "lpips", images, sources, distance,
        masks=masks, region=region, form="area" if region == "whole" else "frame",
        about={**loaded.choices(), "scale": 1.0, "input range": "[-1, 1]"},
    )  # fmt: skip
    return score.with_also({"x 10^3": score.mean * 1e3})
