"""PSNR: how far a picture is from its source, in decibels of the full range.

    PSNR = 10 log₁₀(1 / MSE)                                               pixels in [0, 1]

One value per picture, then their mean; editing card, 14.3. Two equal pictures have no PSNR (it is infinite):
they are counted as without a value, and a score of equal pictures alone is refused. `mse` says 0 of them.
"""

import math
from typing import TYPE_CHECKING

from motif.features.pictures import Pictures
from motif.measure.mse import squared
from motif.measure.pairs import Region
from motif.measure.pixels import Form, compared
from motif.measure.score import Score

if TYPE_CHECKING:
    from torch import Tensor


def psnr(
    images: Pictures,
    sources: Pictures,
    *,
    masks: Pictures | None = None,
    region: Region = "whole",
    form: Form = "area",
) -> Score:
    """Peak signal-to-noise ratio of pictures and their sources, in dB.

    Args:
        images: the edited pictures: a folder, files, or PIL pictures.
        sources: what each was before, by name or in order; or one for all.
        masks: where the edit belongs, in white: a folder, a file; the default is NAME-mask.png beside the sources.
        region: the whole picture, inside the mask (the edit), or outside (the background).
        form: `area` is over the region's pixels; `frame` over the whole frame with the rest set to 0, as in
            PnPInversion's tables.

    Raises:
        InputError: pictures that do not pair, a mask that is missing, no picture with a value.
    """
    about: dict[str, object] = {
        "scale": "dB, span 1",
        "no value": "an empty region, or pictures that are equal there (their PSNR is infinite, their mse 0)",
    }
    return compared("psnr", images, sources, _decibels, masks=masks, region=region, form=form, about=about)


def _decibels(x: "Tensor", y: "Tensor", kept: "Tensor | None") -> float | None:
    error = squared(x, y, kept)
    return -10 * math.log10(error) if error else None
