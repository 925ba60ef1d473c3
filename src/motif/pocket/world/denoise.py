"""Takes the noise out of a trace: a joint bilateral filter over irradiance, guided by noise-free layers.

Colours are divided by the surface's own (noise-free) albedo first, so that textures and patterns are not
touched; what is filtered is only how much light arrives, and only among neighbours on the same surface.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Layer = NDArray[np.float32]
REACH = 3
NORMAL_WIDTH = 0.22
DEPTH_WIDTH = 0.10
LIGHT_WIDTH = 0.30
"""Widths of the weights: normals (unit vectors), depth (world units), light (share of its mean)."""


def denoised(light: Layer, *, alpha: Layer, albedo: Layer, normal: Layer, depth: Layer) -> Layer:
    """Linear RGB [side, side, 3] with less noise.

    `alpha` [side, side] (only pixels that are covered alike are averaged), `albedo` [side, side, 3] in 0..1,
    `normal` [side, side, 3], `depth` [side, side] in world units. Borders repeat their last pixel.
    """
    base = np.maximum(albedo, 0.02)
    arriving = light / base  # [side, side, 3]
    tone = arriving.mean(-1)
    soft = _box(tone)
    guide = np.concatenate(
        [
            normal / NORMAL_WIDTH,
            (depth / DEPTH_WIDTH)[..., None],
            (alpha / 0.05)[..., None],
            (soft / (LIGHT_WIDTH * max(float(tone.mean()), 1e-3)))[..., None],
        ],
        axis=-1,
    )  # [side, side, 6]
    total, weights = arriving.copy(), np.ones_like(tone)
    side = light.shape[0]
    guides, lights = (
        np.pad(layer, ((REACH, REACH), (REACH, REACH), (0, 0)), mode="edge") for layer in (guide, arriving)
    )
    for dy in range(-REACH, REACH + 1):
        for dx in range(-REACH, REACH + 1):
            if (dy, dx) == (0, 0) or dy * dy + dx * dx > REACH * REACH + 1:
                continue
            window = (slice(REACH + dy, REACH + dy + side), slice(REACH + dx, REACH + dx + side))
            step = guides[window] - guide
            weight = np.exp(-0.5 * np.einsum("ijk,ijk->ij", step, step))
            total += weight[..., None] * lights[window]
            weights += weight
    return base * total / weights[..., None]


def _box(picture: Layer) -> Layer:
    """Mean over 3 x 3 neighbours."""
    padded = np.pad(picture, 1, mode="edge")
    side = picture.shape[0]
    total = np.zeros_like(picture)
    for y in range(3):
        for x in range(3):
            total = total + padded[y : y + side, x : x + side]
    return total / np.float32(9)
