"""Proximal negative-prompt inversion (ProxNPI): guidance acts only where target and source really differ.

    ε = ε_u + w prox_λ(ε_c − ε_u),  λ = quantile_q |ε_c − ε_u|,   z ← z − η m (z − Z*) where nothing is edited (m = 1)

Han et al. 2024 (ProxEdit, arXiv 2306.05414); card 4. Inverted as negative-prompt inversion; the operator and the pulls
work in every edit (`motif.replay.Proximal`). The release's two slips have their own names, `official-l0` and
`official-l1`; λ per photo, over its target's row and the source's ("both", as released) or the target's alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import torch

from motif.base import Base
from motif.errors import InputError
from motif.inversion import Inversion
from motif.invert.pivot import begin, finished, trajectory
from motif.photo import Photo
from motif.progress import Progress
from motif.replay import UNGUIDED


def proximal(
    base: Base,
    photos: Photo | Sequence[Photo],
    prompt: str | Sequence[str],
    *,
    steps: int = 50,
    guidance: float | None = None,
    threshold: Literal["soft", "hard", "official-l0", "official-l1"] = "soft",
    quantile: float = 0.7,
    fixed: float | None = None,
    over: Literal["both", "target"] = "both",
    guide: Literal["inversion", "reconstruction", "both", "none"] = "inversion",
    pull: float = 1.0,
    until: int = 400,
    dilate: int = 1,
    height: int | None = None,
    width: int | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> Inversion:
    """Invert photos by DDIM with their captions as empty prompts; edits are guided only where they differ enough.

    Args:
        steps: Steps up, and down again in every edit.
        guidance: Guidance scale of the edits; the default is the base's own.
        threshold: soft or hard, as in the paper; official-l0 and official-l1 are what the release computes.
        quantile: The share of the guidance that is cut off, 0 (none) to 1 (all).
        fixed: A fixed threshold in units of the noise, in the quantile's place.
        over: Whether the quantile is taken over source and target (as released: 0.7 cuts 0.4 of the target) or target.
        guide: What is pulled back to the photo where nothing is edited: the latents to the recorded way (inversion),
            the prediction of the picture to the photo (reconstruction), both or none.
        pull: Share of the distance that each pull takes, 0 to 1.
        until: The pulls act below this timestep (of 1000); above its amount where it is negative.
        dilate: Cells by which what is edited is widened.
        height: Of the photo in pixels; the default is the base's size.
        width: Of the photo in pixels; the default is the base's size.
        on_progress: Told of every step.
    Raises:
        InputError: a photo, a size or a setting that cannot work; guidance 1, which is nothing to cut.
    """
    settings = locals()
    if not 0 <= quantile <= 1 or not 0 <= pull <= 1 or dilate < 0 or (fixed is not None and fixed < 0):
        raise InputError("quantile and pull lie between 0 and 1, dilate and fixed are 0 or more")
    if until == 0 and guide != "none":
        raise InputError('until is 0: no timestep lies there; guide "none" is without pulls')
    if fixed is not None and (quantile, over) != (0.7, "both"):
        raise InputError("fixed stands in the quantile's place: leave quantile and over out, or fixed")
    if not pull and guide != "none":
        raise InputError('pull is 0: guide "none" is without pulls')
    if guide == "none" and (pull, until, dilate) != (1.0, 400, 1):
        raise InputError("pull, until and dilate are of the pulls, and guide is none: leave them out")
    task = begin(base, photos, prompt, settings)
    if task.guidance == 1:
        raise InputError(UNGUIDED)
    replay = {name: settings[name]
              for name in ("threshold", "quantile", "fixed", "over", "guide", "pull", "until", "dilate")}  # fmt: skip
    with torch.no_grad():
        states = task.text.states.float().cpu()[None]
    latents = trajectory(task)
    return finished(
        task, "proximal", latents, uncond=states, against=task.prompts, replays={"proximal": replay}
    )
