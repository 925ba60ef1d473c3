"""What psnr, ssim and mse share: two pictures of one size, compared whole or in a region.

    area     over the region's own pixels                                   mean over P of d(x_p, y_p)
    frame    both multiplied by the region, then the whole frame            d(x · P, y · P)

`frame` is how PnPInversion's tables are made (Ju et al. 2024; editing card, 14.3): its zeros agree everywhere
outside, so a small region inflates PSNR and SSIM and shrinks MSE. A mask counts from half its white on.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

from motif.errors import InputError
from motif.features.pictures import Pictures
from motif.measure.pairs import Pair, Region, pairs
from motif.measure.score import Score

if TYPE_CHECKING:
    from torch import Tensor

Form = Literal["area", "frame"]
Difference = Callable[["Tensor", "Tensor", "Tensor | None"], float | None]
"""(x, y [3, h, w] in [0, 1], the region [h, w] of truths or None for all) -> a value, or None for no value."""


def compared(
    name: str,
    images: Pictures,
    sources: Pictures,
    difference: Difference,
    *,
    masks: Pictures | None,
    region: Region,
    form: Form,
    about: dict[str, object],
) -> Score:
    """One value per picture; None where the region is empty, or `difference` has none."""
    if form not in ("area", "frame"):
        raise InputError(f"form {form!r}: use area or frame")
    if region == "whole" and form == "frame":
        raise InputError(
            "the form says how a region is compared: choose the region inside or outside with it"
        )
    found, how = pairs(images, sources, masks=masks, region=region)
    values = tuple(_value(pair, difference, region, form) for pair in found)
    choices: dict[str, object] = {
        **about,
        "pairs": how,
        "region": region if region == "whole" else f"{region} of the mask, by {form}",
        "pixels": "RGB in [0, 1]; sources of another size cover the picture's, centre cut, bicubic",
        "standard error": "over pictures",
        "no value": str(about.get("no value", "an empty region")),
    }
    return Score(name, values, choices, images=tuple(pair.name for pair in found))


def _value(pair: Pair, difference: Difference, region: Region, form: Form) -> float | None:
    x, y = pair.pixels()
    if region == "whole":
        return difference(x, y, None)
    kept = within(pair, region)
    if not bool(kept.any()):
        return None
    return difference(x, y, kept) if form == "area" else difference(x * kept, y * kept, None)


def within(pair: Pair, region: Region) -> "Tensor":
    """[h, w], bool: the region's pixels."""
    inside = pair.mask() >= 0.5
    return inside if region == "inside" else ~inside
