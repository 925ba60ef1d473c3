"""Where the camera stands: so that the object fills the asked share of the picture and stays inside it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from motif.pocket.world.solids import Array

FIELD = 20.0
"""Field of view in degrees, both ways."""
INSIDE = 0.93
"""Object, hat and company together stay within this share of the picture."""


@dataclass(frozen=True, slots=True)
class Camera:
    """Looks along +y, downwards by `pitch` degrees; `target` is what is in the middle of the picture."""

    target: Array  # [3]
    distance: float
    pitch: float

    @property
    def up(self) -> Array:
        angle = np.radians(self.pitch)
        return np.array([0.0, np.sin(angle), np.cos(angle)])

    @property
    def ahead(self) -> Array:
        angle = np.radians(self.pitch)
        return np.array([0.0, np.cos(angle), -np.sin(angle)])

    @property
    def origin(self) -> Array:
        return self.target - self.distance * self.ahead

    def project(self, points: Array) -> Array:
        """World points [n, 3] to picture places [n, 2]: x right and y up, each -1..1 inside the picture."""
        offset = points - self.origin
        depth = offset @ self.ahead * np.tan(np.radians(FIELD / 2))
        return np.stack([offset[:, 0] / depth, offset @ self.up / depth], 1)


def fitted(object_: Array, all_: Array, *, pitch: float, fill: float, shift: tuple[float, float]) -> Camera:
    """Camera for points of the object [n, 3] and of everything that must be inside [m, 3].

    `fill` is the larger side of the object's box over the picture's side; `shift` is the whole's place in the
    room that is left.
    """
    camera = Camera((all_.min(0) + all_.max(0)) / 2, 7.0, pitch)
    for _ in range(6):
        here, whole = camera.project(object_), camera.project(all_)
        size = float((here.max(0) - here.min(0)).max()) / 2
        span = (whole.max(0) - whole.min(0)) / 2  # [2], share of the picture
        closer = max(size / fill, float(span.max()) / INSIDE)
        room = np.maximum(INSIDE - span / closer, 0.0)
        wanted = room * np.array(shift)
        missed = (whole.max(0) + whole.min(0)) / 2 - wanted * closer
        reach = camera.distance * np.tan(np.radians(FIELD / 2))
        target = camera.target + reach * (missed[0] * np.array([1.0, 0.0, 0.0]) + missed[1] * camera.up)
        camera = Camera(target, camera.distance * closer, pitch)
    return camera
