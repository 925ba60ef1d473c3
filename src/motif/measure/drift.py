"""Drift: what has a concept done to its class word? "a cat" before and after "<new1> cat" is worn.

    s_i = 1/m Σⱼ cos(f(afterᵢ), f(beforeⱼ))         beside it the same of before with itself, DINO-I likewise, and KID

Language drift (Ruiz et al. 2023; Custom Diffusion measures it by KID, table 1). Draw the class word's pictures with the
same prompts and seeds before and after wearing. Where nothing drifted, the two sets are one distribution: CLIP-I and
DINO-I are what before has with itself, and KID is 0. Files of the same names are twins: none is compared with its own
(so that unchanged pictures have KID 0 exactly), but by `twins`, their cosine, 1 where nothing changed. KID here is on
DINO's features; `kid` measures on Inception's. (Form: ours.)
"""

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from motif.errors import InputError
from motif.features.extractors import ClipEncoder, DinoEncoder, cosines, paired_cosines
from motif.features.pictures import Pictures, gather, names
from motif.measure.kid import FEWEST, kid_of
from motif.measure.score import Score

if TYPE_CHECKING:
    from torch import Tensor


def drift(
    images: Pictures,
    before: Pictures,
    *,
    encoder: Literal["pocket", "paper"] = "pocket",
    clip: str | Path | ClipEncoder | None = None,
    dino: str | Path | DinoEncoder | None = None,
    batch_size: int = 32,
    device: str = "cpu",
) -> Score:
    """How the class word's pictures differ before and after a concept is worn: CLIP-I, DINO-I and KID between them.

    Args:
        images: pictures of the class word with the concept worn: a folder, files, or PIL pictures.
        before: pictures of the class word on the base alone, best with the same prompts and seeds.
        encoder: whose CLIP and DINO: `pocket`, or `paper` (ViT-B/32 and ViT-S/16).
        clip: another CLIP: a folder or a hub id.
        dino: another DINO, likewise.
        batch_size: pictures encoded at a time; changes no value beyond rounding (1e-6).
        device: where the encoders compute: cpu, cuda, cuda:1...

    Raises:
        InputError: fewer than three pictures of either kind, or an unreadable one.
        MissingModel: an encoder is not on this machine.
    """
    after, base = gather(images, "pictures after"), gather(before, "pictures before")
    if min(len(after), len(base)) < FEWEST:
        raise InputError(
            f"drift of {len(after)} pictures from {len(base)}: it needs {FEWEST} of each (KID leaves one out)"
        )
    eye = clip if isinstance(clip, ClipEncoder) else ClipEncoder.load(clip or encoder, device=device)
    other = dino if isinstance(dino, DinoEncoder) else DinoEncoder.load(dino or encoder, device=device)
    (x, x0), (z, z0) = (
        tuple(loaded.images(some, batch_size=batch_size) for some in (after, base)) for loaded in (eye, other)
    )
    twins = all(isinstance(p, Path) for p in (*after, *base)) and names(after) == names(base)
    moved = kid_of(z.double(), z0.double(), other, twins=twins)
    per_image = _with_others(x, x0, twins=twins)
    also = {
        "clip-i of before with itself": float(_with_others(x0, x0, twins=True).mean()),
        "dino-i": float(_with_others(z, z0, twins=twins).mean()),
        "dino-i of before with itself": float(_with_others(z0, z0, twins=True).mean()),
        "kid x 10^3 (dino)": moved.mean * 1e3,
        "kid's error x 10^3": (moved.standard_error or 0.0) * 1e3,
    }
    if twins:
        also["twins"] = float(paired_cosines(x, x0).mean())
    choices: dict[str, object] = {
        **eye.choices(),
        "dino": other.choices(),
        "pairs": f"{len(after)} x {len(base)}, after x before" + (", none with its twin" if twins else ""),
        "scale": 1.0,
        "standard error": "over pictures after",
    }
    return Score("drift", tuple(float(value) for value in per_image), choices, also, names(after))


def _with_others(x: "Tensor", y: "Tensor", *, twins: bool) -> "Tensor":
    """[n]: the mean cosine of each of x with y, of twins without its own."""
    found = cosines(x, y)
    return (found.sum(1) - found.diagonal()) / (len(y) - 1) if twins else found.mean(1)
