"""SDEdit: noise a photo part of the way, and denoise it with another prompt.

    n = ⌊T s⌋,   z = √ᾱ_t z₀ + √(1−ᾱ_t) η   at t = t_{T−n},   then n guided steps      η ~ N(0, I)

Meng et al. 2022 (arXiv 2108.01073); card 8. No inversion and no attention control: the whole picture is drawn again.
Ours: strength 0 is the photo through the VAE; from an inversion by value embedding its values are fed too
(StyleDiffusion + SDEdit, Li et al. 2023, Fig. 17).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from motif.attention import Control
from motif.base import Base
from motif.counted import Counted
from motif.edit.edited import Edited
from motif.edit.run import told
from motif.edit.seeded import target_names
from motif.errors import InputError
from motif.images import to_images
from motif.inversion import Inversion
from motif.lanes import SEEDS, Lane, away, denoise, finish
from motif.photo import Photo, encode, read_photos
from motif.progress import Progress
from motif.replay import Values
from motif.schedule import draw_noise


def sdedit(
    base: Base,
    photo: Inversion | Photo | Sequence[Photo],
    prompt: str | Sequence[str],
    *,
    strength: float = 0.6,
    steps: int | None = None,
    guidance: float | None = None,
    values_until: float | None = None,
    seed: int = 0,
    negative: str = "",
    height: int | None = None,
    width: int | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> Edited:
    """Noise a photo part of the way and denoise it with another prompt: no inversion needed.

    Args:
        strength: How far it is noised, from 0 (the photo) to 1 (a new picture). It runs opposite to prompt-to-prompt's
            and Custom-Edit's strength, where more keeps more of the photo (Custom-Edit's comparison: .5 to .8).
        steps: Steps of a whole run; strength x steps of them are taken. The default is 50, of an inversion its own.
        guidance: Guidance scale; the default is the base's own, of an inversion the inversion's.
        values_until: Of an inversion by value-embedding: in which part of the steps that are taken its values are fed
            (tau_v); the default is what the inversion says, 0 feeds none.
        seed: Seed of the first photo's noise; photo i uses seed + i. All prompts share a photo's noise.
        negative: What to steer away from.
        height: Of the photo in pixels; the default is the base's size (an inversion has its own).
        width: Of the photo in pixels; the default is the base's size (an inversion has its own).
    Raises:
        InputError: a photo that cannot be read, a strength outside of 0 to 1, or one too small for a single step, or
            for a single one with values.
    """
    begun = photo if isinstance(photo, Inversion) else None
    steps = (begun.steps if begun else 50) if steps is None else steps
    guidance = (begun.guidance if begun else base.guidance) if guidance is None else guidance
    settings = {**told(locals()), "steps": steps, "guidance": guidance}
    settings.pop("begun")
    if not 0 <= strength <= 1:
        raise InputError(f"strength is {strength:g}: it lies between 0 (the photo) and 1 (a new picture)")
    prompts = (prompt,) if isinstance(prompt, str) else tuple(prompt)
    times, n = base.schedule.timesteps(steps), int(steps * strength + 1e-9)
    if strength and not n:
        raise InputError(f"strength {strength:g} of {steps} steps is no step: more of either")
    base.tokenise([*prompts, negative])
    pixels = _read(base, photo, (height, width))
    controls = _fed(base, begun, values_until, steps, n)
    if not 0 <= seed <= SEEDS - len(pixels):
        raise InputError(f"seed is {seed}: it lies between 0 and 2^63 - 1")
    latents = encode(base, pixels)
    counted = Counted(on_progress, n)
    with torch.no_grad():
        found = [latents] * len(prompts)
        if n:
            noised = _noised(base, latents, times[steps - n], seed)
            uncond = away(base, negative, guidance)
            texts = zip(target_names(len(prompts)), map(base.read, prompts), strict=True)
            lanes = [Lane(name, noised, text, uncond, guidance) for name, text in texts]
            run = denoise(base, lanes, steps=steps, start=steps - n, controls=[*controls, counted])
            done = finish(run)
            found = [done[lane.name] for lane in lanes]
        images = [image for each in found for image in to_images(base.decode(each))]
        back = to_images(base.decode(latents))
    return Edited(
        "sdedit", prompts, tuple(images), torch.stack(found), sources=tuple(to_images(pixels.float() / 127.5 - 1)),
        reconstructions=tuple(back), settings=settings, evaluations=counted.evaluations, seconds=counted.ticker.seconds,
    )  # fmt: skip


def _read(
    base: Base, photo: Inversion | Photo | Sequence[Photo], size: tuple[int | None, int | None]
) -> Tensor:
    """The photo's pixels."""
    if not isinstance(photo, Inversion):
        return read_photos(base, photo, height=size[0], width=size[1])
    if any(size):
        raise InputError("height and width are of a photo; an inversion has its own size")
    photo.check(base)
    return photo.photos


def _fed(base: Base, begun: Inversion | None, until: float | None, steps: int, n: int) -> list[Control]:
    """The control that feeds learned values to the first of the last n steps."""
    if begun is None or "values" not in begun.replays:
        if until is not None:
            raise InputError(
                "values_until is of an inversion by value-embedding, and here are no values to feed"
            )
        return []
    share = float(begun.replays["values"]["until"]) if until is None else until
    if not 0 <= share <= 1:
        raise InputError(f"values_until is {share:g}: it lies between 0 (none are fed) and 1 (in every step)")
    if not (share and n):
        return []
    if begun.steps != steps:
        raise InputError(
            f"its values were learned for {begun.steps} steps, and {steps} are asked for: leave steps "
            "out, or feed none (values_until 0)"
        )
    fed = round(share * n)
    if not fed:
        raise InputError(
            f"values fed in the first {share:g} of {n} steps are fed in none: more of it (values_until), or 0"
        )
    told = {
        **begun.replays["values"],
        "until": (steps - n + fed - 0.5) / steps,
    }  # of whole steps, whatever the rounding
    return [Values.of(begun, base, **told)]


def _noised(base: Base, latents: Tensor, t: int, seed: int) -> Tensor:
    draws = [torch.Generator().manual_seed(seed + i) for i in range(len(latents))]
    noise = draw_noise(tuple(latents.shape[1:]), draws, latents)
    return base.schedule.noise(latents, noise, torch.full((len(latents),), t))
