"""Clipscore: text alignment as papers on editing report it, on a scale of hundreds.

    hessel        100 · 2.5 · max(cos(f(x), g("A photo depicts " + p)), 0)      CLIP ViT-B/32    StyleDiffusion's table
    torchmetrics  100 · max(cos(f(x), g(p)), 0)                                CLIP ViT-L/14    PnPInversion's tables

Hessel et al. 2021; editing card, 14.1 (StyleDiffusion released no script: model and prefix are the citation's).
PIE-Bench's [brackets] are dropped, concept tokens are stripped. With the region `inside`, what lies outside of
the mask is black, as in PnPInversion's "edited" column. `clip-t` is the customisation papers' form.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from PIL import Image, ImageChops

from motif.errors import InputError
from motif.features.extractors import ClipEncoder, PromptPolicy
from motif.features.pictures import Pictures, gather, names, opened
from motif.measure.pairs import pairs
from motif.measure.prompted import prompted, require_prompts
from motif.measure.score import Score

FORMS = {"hessel": (250.0, "A photo depicts "), "torchmetrics": (100.0, "")}
LARGE = "openai/clip-vit-large-patch14"


def clipscore(
    images: Pictures,
    prompts: str | Sequence[str],
    *,
    encoder: str | Path | ClipEncoder = "pocket",
    form: Literal["hessel", "torchmetrics"] = "hessel",
    region: Literal["whole", "inside"] = "whole",
    masks: Pictures | None = None,
    policy: PromptPolicy = "strip",
    batch_size: int = 32,
    device: str = "cpu",
) -> Score:
    """CLIPScore of edited pictures with their target prompts, in hundreds; never negative.

    A loaded ClipEncoder in an encoder's place spares reading it again for every score.

    Args:
        images: the edited pictures: a folder, files, or PIL pictures.
        prompts: the target prompt of all pictures, or one per picture in their order.
        encoder: `pocket`, `paper` (CLIP ViT-B/32; ViT-L/14 for the form torchmetrics), a folder or a hub id.
        form: `hessel` is 100 x 2.5 x cosine with "A photo depicts " before the prompt; `torchmetrics` is
            100 x cosine.
        region: the whole picture, or what is inside the mask, on black.
        masks: where the edit belongs, in white: a folder with the pictures' names, a file; needed for inside.
        policy: `strip` removes concept tokens (`<...>`) from the prompts; `keep` encodes them as they are
            spelled.
        batch_size: pictures encoded at a time; changes no value beyond rounding (1e-6).
        device: where the encoder computes: cpu, cuda, cuda:1...

    Raises:
        InputError: no pictures, an unreadable one, prompts that do not fit, a mask that is missing.
        MissingModel: the encoder is not on this machine.
    """
    if form not in FORMS or region not in ("whole", "inside"):
        raise InputError(f"form {form!r}, region {region!r}: use {' or '.join(FORMS)}, and whole or inside")
    generated = gather(images, "edited pictures")
    require_prompts(prompts, len(generated), policy)
    scale, prefix = FORMS[form]
    seen, chosen = _shown(generated, masks, inside=region == "inside")
    if isinstance(encoder, ClipEncoder):
        loaded = encoder
    else:
        wanted = LARGE if (str(encoder), form) == ("paper", "torchmetrics") else encoder
        loaded = ClipEncoder.load(wanted, device=device)
    each = [prompts] * len(generated) if isinstance(prompts, str) else list(prompts)
    found = prompted(
        [seen[i] for i in chosen], [each[i] for i in chosen], loaded,
        policy=policy, prefix=prefix, brackets=False, batch_size=batch_size,
    )  # fmt: skip
    values: list[float | None] = [None] * len(generated)
    for i, value in zip(chosen, found.scaled(scale), strict=True):
        values[i] = value
    choices: dict[str, object] = {
        **found.choices, "form": form, "scale": scale, "no value": "an empty mask",
        "region": region if region == "whole" else "inside of the mask, black elsewhere, not cropped",
    }  # fmt: skip
    return Score("clipscore", tuple(values), choices, {"raw cosine": found.mean}, names(generated))


def _shown(
    generated: Sequence[Path | Image.Image], masks: Pictures | None, *, inside: bool
) -> tuple[list[Path | Image.Image], list[int]]:
    """The pictures as CLIP sees them, and which of them show anything."""
    if not inside:
        pairs(generated, generated, masks=masks, region="whole")  # refuses masks that nothing would read
        return list(generated), list(range(len(generated)))
    seen: list[Path | Image.Image] = []
    chosen: list[int] = []
    for i, pair in enumerate(pairs(generated, generated, masks=masks, region="inside")[0]):
        mask = pair.mask() >= 0.5
        white = Image.fromarray(mask.numpy()).convert("RGB")
        seen.append(ImageChops.multiply(opened(pair.image), white))
        chosen += [i] if bool(mask.any()) else []
    if not chosen:
        raise InputError("clipscore: every mask is empty: nothing is inside")
    return seen, chosen
