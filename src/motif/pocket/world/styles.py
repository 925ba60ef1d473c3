"""Drawing styles, made in 2D from a render: pencil and watercolour."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageFilter

from motif.pocket.world.contexts import noise
from motif.pocket.world.solids import Array


def _blurred(picture: Array, radius: float) -> Array:
    """Gaussian blur of a display-valued [h, w] or [h, w, 3] picture, through 8 bits."""
    image = Image.fromarray((np.clip(picture, 0, 1) * 255 + 0.5).astype(np.uint8))
    return np.asarray(image.filter(ImageFilter.GaussianBlur(radius))) / 255.0


def contours(picture: Array) -> Array:
    """Strength of outlines, [h, w] in 0..1: colour steps between neighbours, [h, w, 3] in."""
    soft = _blurred(picture, 0.8)
    dy = np.abs(np.diff(soft, axis=0, append=soft[-1:])).max(-1)
    dx = np.abs(np.diff(soft, axis=1, append=soft[:, -1:])).max(-1)
    return np.clip(np.hypot(dx, dy) * 5 - 0.15, 0, 1)


def pencil(picture: Array, rng: np.random.Generator) -> Array:
    """Dark outlines and slanted hatching on paper; [h, w, 3] display values in and out."""
    side = picture.shape[0]
    grey = picture @ np.array([0.30, 0.59, 0.11])
    y, x = np.mgrid[0:side, 0:side] / side
    wobble = 0.012 * noise(rng, side, (6,), (1.0,))
    hatch = np.zeros_like(grey)
    for level, slant in ((0.62, 1.0), (0.34, -1.0)):  # a second, crossed layer where it is darker
        stroke = 0.5 + 0.5 * np.sin(2 * np.pi * 22 * (x + slant * 0.7 * y + wobble))
        hatch += np.clip((level - grey) * 2.2, 0, 1) * (0.25 + 0.75 * stroke)
    ink = 0.80 * contours(picture) + 0.27 * hatch + 0.10 * (1 - grey)
    paper = 0.965 + 0.02 * noise(rng, side, (32,), (1.0,))
    tone = np.clip(paper - ink, 0.08, 1)
    return tone[..., None] * np.array([1.0, 0.995, 0.98])


def watercolour(picture: Array, rng: np.random.Generator) -> Array:
    """Pale, flat, uneven washes with darker rims that end before the paper's border; [h, w, 3] in and out."""
    side = picture.shape[0]
    image = Image.fromarray((np.clip(picture, 0, 1) * 255 + 0.5).astype(np.uint8))
    flat = np.asarray(image.filter(ImageFilter.MedianFilter(5))) / 255.0
    mean = flat.mean(-1, keepdims=True)
    vivid = np.clip(mean + (flat - mean) * 1.25, 0, 1)
    washes = 1 - (1 - vivid) * (0.82 + 0.12 * noise(rng, side, (5, 11), (1.0, 0.6)))[..., None]
    rims = 0.38 * contours(flat)[..., None]
    painted = np.clip(washes - rims * (1.1 - vivid), 0, 1)
    y, x = np.mgrid[0:side, 0:side] / (side - 1) - 0.5
    border = np.maximum(np.abs(x), np.abs(y)) + 0.035 * noise(rng, side, (7, 15), (1.0, 0.6))
    fade = np.clip((border - 0.44) / 0.035, 0, 1)[..., None]
    paper = 0.975 + 0.015 * noise(rng, side, (40,), (1.0,))[..., None]
    return np.clip(painted * (1 - fade) + paper * fade, 0, 1)
