"""Path traces a scene with mitsuba: a 64 px picture and the exact mask of its object.

The picture is traced at twice its side and reduced, which smooths edges for the same number of rays.
Coverage of the object comes from the same rays (`tracing`), so the mask is exact, to 1 / samples.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from motif.pocket.world import backdrops, contexts, styles
from motif.pocket.world.denoise import denoised
from motif.pocket.world.scene import Scene
from motif.pocket.world.solids import Array
from motif.pocket.world.staging import Stage, horizon, staged
from motif.pocket.world.tracing import MARK, rays

OVERSAMPLE = 2
SEEN = 0.02
"""Difference of reflectance from which a surface has another colour."""


@dataclass(frozen=True, slots=True)
class Traced:
    """A traced scene at `side` pixels."""

    picture: Array  # [side, side, 3], display values 0..1
    object_: Array  # [side, side], coverage of the object 0..1
    accessory: Array  # [side, side], coverage of the accessory 0..1
    albedo: NDArray[
        np.float32
    ]  # [OVERSAMPLE · side, OVERSAMPLE · side, 3], the colours of surfaces, without light


def render(scene: Scene, *, size: int = 64, samples: int = 16) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Picture [size, size, 3] and object mask [size, size], both 8 bits. `samples` are rays per pixel."""
    traced = trace(scene, size=size, samples=samples)
    return to_bytes(traced.picture), to_bytes(traced.object_)


def to_bytes(picture: Array) -> NDArray[np.uint8]:
    """Values 0..1 to 0..255, rounded."""
    return (np.clip(picture, 0, 1) * 255 + 0.5).astype(np.uint8)


def trace(scene: Scene, *, size: int = 64, samples: int = 16, stage: Stage | None = None) -> Traced:
    """As `render`, in floats, with the accessory's coverage; a given `stage` replaces the scene's own."""
    side = size * OVERSAMPLE
    stage = staged(scene) if stage is None else stage
    per_pixel = max(1, round(samples / OVERSAMPLE**2))
    layers = rays(scene, stage, side=side, samples=per_pixel)
    alpha = np.clip(layers[..., 3:4], 0, 1)
    light = denoised(
        layers[..., :3],
        alpha=alpha[..., 0],
        albedo=layers[..., 6:9],
        normal=layers[..., 9:12],
        depth=layers[..., 12],
    )
    if contexts.PLACES[scene.view.context].wall is None:
        far = backdrops.backdrop(
            scene.view.context,
            np.random.default_rng(scene.view.seed),
            horizon=horizon(stage.camera, scene.view),
            side=side,
        )
        light = light + (1 - alpha) * _to_linear(far)
    picture = _to_display(light)
    if scene.view.style != "photo":
        artist = styles.pencil if scene.view.style == "pencil" else styles.watercolour
        picture = artist(picture, np.random.default_rng(scene.view.seed + 1))
    covers = np.floor(layers[..., 4:6] / MARK * per_pixel + 0.05) / per_pixel
    return Traced(_reduced(picture), _reduced(covers[..., 0]), _reduced(covers[..., 1]), layers[..., 6:9])


def repainted(one: Traced, other: Traced) -> Array:
    """[side, side]: the share of each pixel whose surface has another colour, of two traces by the same rays (one
    geometry, one camera, one seed), so that nothing else differs: no noise, no light, no shadow.
    """
    return _reduced((np.abs(one.albedo - other.albedo).max(-1) > SEEN).astype(np.float64))


def _reduced(picture: Array) -> Array:
    """Mean over OVERSAMPLE x OVERSAMPLE pixels."""
    side = picture.shape[0] // OVERSAMPLE
    return picture.reshape(side, OVERSAMPLE, side, OVERSAMPLE, *picture.shape[2:]).mean((1, 3))


def _to_display(light: NDArray[np.floating[Any]]) -> Array:
    """Linear to sRGB, with highlights rolled off above 0.8."""
    over = np.maximum(light - 0.8, 0)
    light = np.clip(np.minimum(light, 0.8) + 0.2 * (1 - np.exp(-over / 0.2)), 0, 1)
    return np.where(light < 0.0031308, 12.92 * light, 1.055 * np.maximum(light, 1e-8) ** (1 / 2.4) - 0.055)


def _to_linear(picture: Array) -> Array:
    return np.where(picture < 0.04045, picture / 12.92, ((picture + 0.055) / 1.055) ** 2.4)
