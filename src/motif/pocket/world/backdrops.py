"""What is seen above the ground's far edge in open places: painted in 2D, in display colours."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw

from motif.pocket.world.solids import Array

Rgb = tuple[float, float, float]
OVERSIZE = 256
"""Side at which backdrops are painted, before they are reduced."""

SKIES: dict[str, tuple[Rgb, Rgb]] = {
    "beach": ((0.22, 0.50, 0.88), (0.70, 0.86, 0.96)),
    "snow": ((0.58, 0.68, 0.82), (0.86, 0.90, 0.95)),
    "meadow": ((0.25, 0.52, 0.92), (0.76, 0.88, 0.97)),
    "desert": ((0.36, 0.58, 0.86), (0.97, 0.80, 0.56)),
    "water": ((0.30, 0.56, 0.90), (0.80, 0.90, 0.96)),
    "street": ((0.52, 0.63, 0.78), (0.80, 0.83, 0.86)),
    "night": ((0.01, 0.015, 0.06), (0.07, 0.09, 0.22)),
    "studio": ((0.72, 0.72, 0.72), (0.80, 0.80, 0.80)),
    "forest": ((0.10, 0.20, 0.10), (0.34, 0.46, 0.28)),
}
"""Top and horizon colour of each open place, display (sRGB) values."""


class _Canvas:
    """A PIL drawing with colours in 0..1; `horizon` is the row of the ground's far edge."""

    def __init__(self, sky: tuple[Rgb, Rgb], horizon: float) -> None:
        height = np.clip(np.arange(OVERSIZE) / max(horizon, 1.0), 0, 1)[:, None, None]
        gradient = np.array(sky[0]) * (1 - height) + np.array(sky[1]) * height
        pixels = np.broadcast_to(gradient * 255, (OVERSIZE, OVERSIZE, 3)).astype(np.uint8)
        self.image = Image.fromarray(np.ascontiguousarray(pixels))
        self._draw = ImageDraw.Draw(self.image)
        self.horizon = horizon

    def ellipse(self, x: float, y: float, rx: float, ry: float, rgb: Rgb) -> None:
        self._draw.ellipse((x - rx, y - ry, x + rx, y + ry), fill=_bytes(rgb))

    def box(self, left: float, top: float, right: float, bottom: float, rgb: Rgb) -> None:
        if right >= left and bottom >= top:
            self._draw.rectangle((left, top, right, bottom), fill=_bytes(rgb))

    def polygon(self, points: list[tuple[float, float]], rgb: Rgb) -> None:
        self._draw.polygon(points, fill=_bytes(rgb))


def _bytes(rgb: Rgb) -> tuple[int, int, int]:
    red, green, blue = (int(255 * min(max(value, 0.0), 1.0)) for value in rgb)
    return red, green, blue


def _shade(rgb: Rgb, factor: float) -> Rgb:
    return rgb[0] * factor, rgb[1] * factor, rgb[2] * factor


def _clouds(canvas: _Canvas, rng: np.random.Generator) -> None:
    for _ in range(int(rng.integers(1, 4))):
        x, y = rng.uniform(0, OVERSIZE), rng.uniform(0, canvas.horizon * 0.6)
        for _ in range(5):
            canvas.ellipse(
                x + rng.normal() * 17,
                y + rng.normal() * 3,
                rng.uniform(13, 30),
                rng.uniform(6, 11),
                (0.95, 0.97, 0.99),
            )


def _beach(canvas: _Canvas, rng: np.random.Generator) -> None:
    _clouds(canvas, rng)
    deep = rng.uniform(30, 48)
    for k in range(4):
        top = canvas.horizon - deep * (1 - k / 4)
        canvas.box(0, top, OVERSIZE, canvas.horizon + 4, (0.05 + 0.07 * k, 0.36 + 0.09 * k, 0.62 + 0.05 * k))
    canvas.box(0, canvas.horizon - 5, OVERSIZE, canvas.horizon + 6, (0.90, 0.95, 0.96))


def _snow(canvas: _Canvas, rng: np.random.Generator) -> None:
    for _ in range(int(rng.integers(5, 10))):
        x, high = rng.uniform(0, OVERSIZE), rng.uniform(40, 85)
        dark = (0.07, 0.20 + 0.06 * rng.random(), 0.16)
        for k in range(3):
            base = canvas.horizon + 3 - k * high * 0.26
            half = high * (0.34 - 0.08 * k)
            canvas.polygon([(x - half, base), (x + half, base), (x, base - high * 0.5)], dark)
            canvas.polygon(
                [
                    (x - half * 0.4, base - high * 0.3),
                    (x + half * 0.4, base - high * 0.3),
                    (x, base - high * 0.5),
                ],
                (0.9, 0.93, 0.97),
            )


def _meadow(canvas: _Canvas, rng: np.random.Generator) -> None:
    _clouds(canvas, rng)
    for _ in range(3):
        green = (0.20 + 0.14 * rng.random(), 0.50 + 0.12 * rng.random(), 0.18)
        canvas.ellipse(
            rng.uniform(0, OVERSIZE), canvas.horizon + 4, rng.uniform(80, 170), rng.uniform(16, 44), green
        )
    for _ in range(int(rng.integers(0, 4))):
        x, size = rng.uniform(0, OVERSIZE), rng.uniform(14, 26)
        canvas.box(x - 3, canvas.horizon - size, x + 3, canvas.horizon, (0.30, 0.20, 0.10))
        canvas.ellipse(x, canvas.horizon - size * 1.4, size * 0.75, size * 0.8, (0.10, 0.36, 0.12))


def _desert(canvas: _Canvas, rng: np.random.Generator) -> None:
    canvas.ellipse(
        rng.uniform(20, OVERSIZE - 20), canvas.horizon * rng.uniform(0.2, 0.6), 15, 15, (1.0, 0.96, 0.80)
    )
    for k in range(3):
        tone = 0.80 + 0.07 * k
        canvas.ellipse(
            rng.uniform(0, OVERSIZE),
            canvas.horizon + 4,
            rng.uniform(80, 160),
            rng.uniform(16, 44),
            (0.93 * tone, 0.62 * tone, 0.36 * tone),
        )


def _street(canvas: _Canvas, rng: np.random.Generator) -> None:
    x = -rng.uniform(0, 40)
    while x < OVERSIZE:
        wide, high = rng.uniform(50, 90), rng.uniform(0.5, 1.0) * canvas.horizon
        stone = ((0.72, 0.62, 0.52), (0.62, 0.44, 0.36), (0.56, 0.57, 0.60), (0.76, 0.70, 0.55))[
            int(rng.integers(4))
        ]
        canvas.box(
            x, canvas.horizon - high, x + wide, canvas.horizon + 4, _shade(stone, rng.uniform(0.7, 1.0))
        )
        for wx in np.arange(x + 8, x + wide - 12, 19):
            for wy in np.arange(canvas.horizon - high + 9, canvas.horizon - 12, 23):
                canvas.box(float(wx), float(wy), float(wx) + 10, float(wy) + 13, (0.20, 0.25, 0.32))
        x += wide


def _night(canvas: _Canvas, rng: np.random.Generator) -> None:
    for _ in range(45):
        size = rng.uniform(1.2, 2.4)
        canvas.ellipse(
            rng.uniform(0, OVERSIZE), rng.uniform(0, canvas.horizon), size, size, (0.95, 0.95, 0.85)
        )
    x, y, size = (
        rng.uniform(30, OVERSIZE - 30),
        rng.uniform(22, max(canvas.horizon * 0.55, 30)),
        rng.uniform(14, 22),
    )
    canvas.ellipse(x, y, size, size, (0.98, 0.95, 0.80))
    if rng.random() < 0.5:
        canvas.ellipse(x + size * 0.5, y - size * 0.2, size * 0.9, size * 0.9, (0.02, 0.03, 0.09))


def _forest(canvas: _Canvas, rng: np.random.Generator) -> None:
    for k in range(16):
        near = k / 16
        x, wide = rng.uniform(0, OVERSIZE), 5 + 12 * near * rng.random()
        tone = 0.95 - 0.5 * near
        canvas.box(x - wide / 2, 0, x + wide / 2, canvas.horizon + 3, (0.34 * tone, 0.24 * tone, 0.15 * tone))
    for _ in range(26):
        x, y = rng.uniform(0, OVERSIZE), rng.uniform(-10, canvas.horizon * 0.45)
        tone = rng.uniform(0.5, 1.0)
        canvas.ellipse(x, y, rng.uniform(14, 34), rng.uniform(9, 18), (0.16 * tone, 0.40 * tone, 0.13 * tone))
    for _ in range(8):
        x, tone = rng.uniform(0, OVERSIZE), rng.uniform(0.6, 1.0)
        canvas.ellipse(
            x,
            canvas.horizon + 2,
            rng.uniform(12, 30),
            rng.uniform(6, 16),
            (0.14 * tone, 0.34 * tone, 0.11 * tone),
        )


_PAINTERS: dict[str, Callable[[_Canvas, np.random.Generator], None]] = {
    "beach": _beach, "snow": _snow, "meadow": _meadow, "desert": _desert, "water": _clouds,
    "street": _street, "night": _night, "forest": _forest,
}  # fmt: skip


def backdrop(context: str, rng: np.random.Generator, *, horizon: float, side: int) -> Array:
    """The far scene, [side, side, 3], display values 0..1. `horizon` is a share of the picture's height."""
    canvas = _Canvas(SKIES[context], float(np.clip(horizon, -0.5, 1.2)) * OVERSIZE)
    if context in _PAINTERS and canvas.horizon > 8:
        _PAINTERS[context](canvas, rng)
    return np.asarray(canvas.image.resize((side, side), Image.Resampling.BOX)) / 255.0
