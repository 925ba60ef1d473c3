"""Plain sampling: one lane, classifier-free guidance, DDIM (η = 1 is the DDPM sampler that Custom Diffusion reports).

The same latents through diffusers' own pipeline with a DDIM scheduler give the same picture; with `solver` "lms" its
LMSDiscreteScheduler does.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from motif.attention import Control
from motif.base import Base
from motif.errors import InputError
from motif.lanes import draw
from motif.sample.progress import Progress, Told
from motif.solver import Solver

if TYPE_CHECKING:
    from PIL.Image import Image


def plain(
    base: Base,
    prompt: str,
    *,
    n: int = 1,
    seed: int = 0,
    steps: int = 50,
    guidance: float | None = None,
    eta: float = 0.0,
    solver: Solver = "ddim",
    negative: str = "",
    height: int | None = None,
    width: int | None = None,
    batch_size: int = 8,
    controls: Sequence[Control] = (),
    on_progress: Callable[[Progress], None] | None = None,
    on_image: Callable[[Image], None] | None = None,
) -> list[Image]:
    """Draw n pictures of a prompt. Picture i depends on the prompt, the settings and seed + i alone.

    Args:
        n: How many pictures.
        seed: The first picture's seed, 0 or more; picture i uses seed + i.
        steps: Denoising steps, 1 to 1000.
        guidance: Guidance scale; 1 is none. The default is the base's own.
        eta: 0 is DDIM, 1 the DDPM sampler (the papers' 200-step samples).
        solver: How a step is taken: ddim, or lms, the linear multistep method of k-diffusion, which takes eta 0 alone.
        negative: What to steer away from.
        height: In pixels; the default is the base's size.
        width: In pixels; the default is the base's size.
        batch_size: Pictures per pass; it changes memory, not the pictures.
        controls: Interventions in attention.
        on_progress: Told of every denoising step.
        on_image: Given each picture as soon as its pass is done, in order.
    Raises:
        InputError: a `<token>` in the prompt that no worn concept knows; a size that does not divide; a negative seed.
    """
    if n < 1:
        raise InputError(f"n is {n}: ask for at least one picture")
    size = (base.size if height is None else height, base.size if width is None else width)
    passes = math.ceil(n / max(batch_size, 1))
    told = [Told(on_progress, passes * steps)] if on_progress else []
    images: list[Image] = []
    for image in draw(
        base, [prompt] * n, seeds=range(seed, seed + n), steps=steps, guidance=guidance, eta=eta, solver=solver,
        negative=negative, size=size, batch_size=batch_size, controls=[*controls, *told],
    ):  # fmt: skip
        images.append(image)
        if on_image:
            on_image(image)
    return images
