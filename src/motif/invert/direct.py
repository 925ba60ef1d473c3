"""Direct inversion (PnP inversion): the source lane is put back on its trajectory after every step.

    z_src ← z_src + (Z*[k−1] − z_src)        targets are left alone

Ju et al., ICLR 2024 (arXiv 2310.01506); card 5. The offsets cancel what guidance does to the source lane and nothing
else, so that it ends at the photo's latents bit for bit. Ours: the source lane is never influenced by the others, so
adding the offset is writing Z*; the released pass that measures offsets is not run.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

from motif.base import Base
from motif.inversion import Inversion
from motif.invert.pivot import begin, finished, trajectory
from motif.photo import Photo
from motif.progress import Progress
from motif.replay import Pinned


def direct(
    base: Base,
    photos: Photo | Sequence[Photo],
    prompt: str | Sequence[str],
    *,
    steps: int = 50,
    guidance: float | None = None,
    every: int = 1,
    to: Literal["source", "all"] = "source",
    height: int | None = None,
    width: int | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> Inversion:
    """Invert photos by DDIM, and hold the source lane of every edit on the recorded way.

    Args:
        steps: Steps up, and down again in every edit.
        guidance: Guidance scale of the edits; the default is the base's own.
        every: Correct after every so many steps (paper: 1; more is its ablation).
        to: Correct the source lane (the method), or all lanes by its offset (the paper's ablation "add-source").
        height: Of the photo in pixels; the default is the base's size.
        width: Of the photo in pixels; the default is the base's size.
        on_progress: Told of every step.
    Raises:
        InputError: a photo that cannot be read, a size that does not fit, a token that no worn concept knows.
    """
    task = begin(base, photos, prompt, locals())
    settings = {"every": every, "to": to}
    Pinned(task.photos, every=every, to=to)  # checked before the work
    latents = trajectory(task)
    way = latents if every == 1 else None  # which is where the source lane is held
    return finished(task, "direct", latents, way=way, replays={"pinned": settings})
