"""SSIM: whether a picture has its source's structure around every pixel.

    SSIM = (2 μₓ μ_y + c₁)(2 σₓy + c₂) / ((μₓ² + μ_y² + c₁)(σₓ² + σ_y² + c₂)),   c₁ = .01², c₂ = .03²

Wang et al. 2004, with a Gaussian window of σ 1.5 over 11 pixels, reflected borders, every colour for itself, mean over
the frame (torchmetrics' definition, which PnPInversion measures with; editing card, 14.3). By `area` the mean is over
the map's values at the region's pixels, whose windows reach up to 5 pixels beyond it.
"""

from typing import TYPE_CHECKING

from motif.errors import InputError
from motif.features.pictures import Pictures
from motif.measure.pairs import Region
from motif.measure.pixels import Form, compared
from motif.measure.score import Score

if TYPE_CHECKING:
    from torch import Tensor


def ssim(
    images: Pictures,
    sources: Pictures,
    *,
    masks: Pictures | None = None,
    region: Region = "whole",
    form: Form = "area",
) -> Score:
    """Structural similarity of pictures and their sources; 1 is equal.

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
        "scale": 1.0,
        "window": "Gaussian, σ 1.5, 11 px, reflected borders, per colour",
    }
    return compared("ssim", images, sources, _structure, masks=masks, region=region, form=form, about=about)


def _structure(x: "Tensor", y: "Tensor", kept: "Tensor | None") -> float:
    from motif.fidelity import REACH, ssim_map

    if min(x.shape[-2:]) <= REACH:
        raise InputError(
            f"a picture of {x.shape[-1]}x{x.shape[-2]} pixels is too small for SSIM's window of 11"
        )
    found = ssim_map(x[None], y[None])[0]
    return float((found if kept is None else found[:, kept]).mean())
