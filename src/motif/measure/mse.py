"""MSE: the mean squared difference of a picture and its source, over pixels and colours in [0, 1].

    MSE = mean (x − y)²                                         PnPInversion's tables give MSE x 10⁴

Whole, inside or outside of a mask; editing card, 14.3. `motif.measure.pixels` says what the two forms are.
"""

from typing import TYPE_CHECKING

from motif.features.pictures import Pictures
from motif.measure.pairs import Region
from motif.measure.pixels import Form, compared
from motif.measure.score import Score

if TYPE_CHECKING:
    from torch import Tensor


def mse(
    images: Pictures,
    sources: Pictures,
    *,
    masks: Pictures | None = None,
    region: Region = "whole",
    form: Form = "area",
) -> Score:
    """Mean squared difference of pictures and their sources, in [0, 1].

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
    score = compared(
        "mse", images, sources, squared, masks=masks, region=region, form=form, about={"scale": 1.0}
    )
    return score.with_also({"x 10^4": score.mean * 1e4})


def squared(x: "Tensor", y: "Tensor", kept: "Tensor | None") -> float:
    """Over [3, h, w], or the pixels of a region [h, w]."""
    difference = (x - y).square()
    return float((difference if kept is None else difference[:, kept]).mean())
