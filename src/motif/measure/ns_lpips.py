"""NS-LPIPS: has an edit left alone what it was not about?

    d = LPIPS(x · (1 − m), y · (1 − m))              m: where the edit belongs, given or an inversion's attention

Non-selected LPIPS (StyleDiffusion, Li et al. 2023; editing card, 14.4). The paper tells of a binary mask, and LPIPS
takes [−1, 1]; the release keeps the mask soft (its threshold is overwritten) and feeds [0, 1]. The release's form is
the default; `mask_form="binary"`, `input_range="signed"` are what the paper says.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from PIL import Image

from motif.errors import InputError
from motif.features.perceptual import Perceptual
from motif.features.pictures import Pictures, opened
from motif.measure.pairs import Pair, fitted, pairs, tensor
from motif.measure.score import Score

if TYPE_CHECKING:
    from torch import Tensor

MaskForm = Literal["soft", "binary"]
SIDE = 256


def ns_lpips(
    images: Pictures,
    sources: Pictures,
    *,
    encoder: str | Path | Perceptual = "pocket",
    masks: Pictures | None = None,
    attention: str | Path | None = None,
    word: str = "",
    on: str | Path | None = None,
    heads: Literal["all", "last-half"] | None = None,
    mask_form: MaskForm = "soft",
    input_range: Literal["unit", "signed"] = "unit",
    device: str = "cpu",
) -> Score:
    """Perceptual distance of edits and their sources outside of what was to be edited; 0 is untouched.

    A loaded Perceptual in an encoder's place spares reading it again for every score. Of an inversion in hand, or of
    one that wears a concept, `motif.measure.attended.masks` gives the masks.

    Args:
        images: the edited pictures: a folder, files, or PIL pictures.
        sources: what each was before, by name or in order; or one for all.
        encoder: `alex`, `squeeze` or `vgg` (LPIPS), `paper` (alex), or `pocket`: LPIPS's form over pocket's DINO.
        masks: where the edit belongs, in white: a folder, a file; the default is NAME-mask.png beside the sources.
        attention: an `.inversion` file of the sources: the mask is its attention to the word.
        word: the word of the source's caption that is edited, for attention.
        on: the base that the inversion was made on, for attention; the default is pocket.
        heads: whose attention: `last-half` of a layer's heads, the default, is the release's slip.
        mask_form: `soft` as the release keeps it, `binary` (half or more) as the paper says.
        input_range: `unit` feeds [0, 1] as the release does, `signed` [-1, 1] as LPIPS expects.
        device: where the network computes: cpu, cuda, cuda:1...

    Raises:
        InputError: pictures that do not pair, no mask or two kinds of them, a caption without the word.
        MissingModel: the network is not on this machine.
    """
    if mask_form not in ("soft", "binary") or input_range not in ("unit", "signed"):
        raise InputError(
            f"mask form {mask_form!r}, range {input_range!r}: use soft or binary, unit or signed"
        )
    if (attention is None) != (not word) or (attention is not None and masks is not None):
        raise InputError(
            "the mask is either given, or an inversion's attention (--attention) to a word (--word)"
        )
    if attention is None and (on or heads):
        raise InputError("on and heads say how an inversion's attention is read: give attention and word too")
    loaded = Perceptual.load(encoder, paper="alex", device=device)
    side = loaded.side or SIDE
    seen = (
        None if attention is None else _attention(attention, word, on or "pocket", heads or "last-half", side)
    )
    found, how = pairs(images, sources, masks=masks, region="outside")
    if seen is not None and len(seen) not in (1, len(found)):
        raise InputError(f"{len(seen)} photos in the inversion for {len(found)} pictures: give one for each")
    values: list[float | None] = []
    for i, pair in enumerate(found):
        mask = pair.grey_mask() if seen is None else seen[i % len(seen)]
        kept = _kept(mask, side, mask_form)
        values.append(_value(pair, loaded, side, kept, signed=input_range == "signed"))
    choices: dict[str, object] = {
        **loaded.choices(),
        "pairs": f"each picture with its source, {how}",
        "mask": f"{mask_form}, "
        + ("given" if seen is None else f'attention to "{word}", heads {heads or "last-half"}'),
        "pixels": f"{side} x {side}, bilinear; input range {'[-1, 1]' if input_range == 'signed' else '[0, 1]'}",
        "scale": 1.0,
        "standard error": "over edited pictures",
        "no value": "a mask that leaves nothing outside",
    }
    return Score("ns-lpips", tuple(values), choices, images=tuple(pair.name for pair in found))


def _kept(mask: Image.Image, side: int, mask_form: MaskForm) -> "Tensor":
    """1 − m at the network's size: [side, side] in [0, 1]."""
    kept = 1 - tensor(mask.resize((side, side), Image.Resampling.BILINEAR))[0]
    return (kept >= 0.5).to(kept.dtype) if mask_form == "binary" else kept


def _value(pair: Pair, network: Perceptual, side: int, kept: "Tensor", *, signed: bool) -> float | None:
    if not bool(kept.any()):
        return None
    image = opened(pair.image)
    x, y = (
        tensor(one.resize((side, side), Image.Resampling.BILINEAR)) * kept
        for one in (image, fitted(opened(pair.source), image.size))
    )
    return network.distance(2 * x - 1, 2 * y - 1) if signed else network.distance(x, y)


def _attention(
    file: str | Path, word: str, on: str | Path, heads: Literal["all", "last-half"], side: int
) -> list[Image.Image]:
    """The mask of every photo of an inversion, at the network's size."""
    from motif.base import Base
    from motif.inversion import Inversion
    from motif.measure.attended import masks

    inversion = Inversion.load(Path(file).expanduser())
    return masks(Base.load(str(on)), inversion, word, heads=heads, size=(side, side))
