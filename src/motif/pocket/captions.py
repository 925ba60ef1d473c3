"""Captions of pocket's world: what may not change when concepts are merged on pocket (`motif.learn.held`).

`data/captions.txt` holds the first 400 of seed 0, for layers below this one; a test compares.
"""

from __future__ import annotations

import numpy as np

from motif.pocket.world.grammar import caption
from motif.pocket.world.scene import Scene, draw_instance, draw_view


def captions(count: int, *, seed: int = 0) -> tuple[str, ...]:
    """Distinct captions of random scenes, each by its own generator: more of them begin with the same ones."""
    found: dict[str, None] = {}
    index = 0
    while len(found) < count:
        rng = np.random.default_rng([seed, index])
        found.setdefault(caption(Scene(draw_instance(rng), draw_view(rng)), rng))
        index += 1
    return tuple(found)
