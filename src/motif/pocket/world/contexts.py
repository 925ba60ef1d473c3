"""Places: the ground's texture, an upright wall where there is one, and the light."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from PIL import Image

from motif.pocket.world.solids import Array

TEXTURE_SIDE = 128
VARIANTS = 24


@dataclass(frozen=True, slots=True)
class Place:
    """Light and layout of a context. Colours are linear RGB."""

    tile: float
    """Side of the ground texture in world units."""
    sky: tuple[float, float, float]
    """Radiance of the sky dome."""
    sun: tuple[float, float, float]
    """Irradiance of the sun (or moon, or lamp) on a surface that faces it."""
    wall: float | None = None
    """Distance of an upright wall behind the object; None: open, with a painted backdrop."""
    sink: float = 0.0
    """How deep objects sink in, in world units."""


DAY, SUN = (0.56, 0.64, 0.76), (2.1, 1.95, 1.65)
PLACES: dict[str, Place] = {
    "beach": Place(3.0, DAY, (2.2, 2.0, 1.65), sink=0.03),
    "snow": Place(4.0, (0.62, 0.68, 0.78), (1.7, 1.65, 1.5), sink=0.05),
    "meadow": Place(3.0, DAY, SUN, sink=0.04),
    "floor": Place(4.2, (0.66, 0.62, 0.56), (1.7, 1.55, 1.3), wall=1.9),
    "street": Place(3.4, (0.6, 0.64, 0.7), (1.8, 1.7, 1.5)),
    "desert": Place(4.0, (0.58, 0.6, 0.64), (2.4, 2.0, 1.45), sink=0.04),
    "water": Place(4.0, DAY, SUN, sink=0.22),
    "wall": Place(3.0, (0.6, 0.6, 0.6), (1.9, 1.8, 1.55), wall=1.5),
    "night": Place(4.0, (0.27, 0.31, 0.48), (1.15, 1.14, 1.05)),
    "studio": Place(6.0, (0.74, 0.74, 0.74), (1.3, 1.3, 1.26)),
    "forest": Place(3.0, (0.42, 0.52, 0.44), (1.6, 1.55, 1.1), sink=0.03),
    "kitchen": Place(2.6, (0.68, 0.68, 0.66), (1.6, 1.55, 1.4), wall=1.9),
}


def noise(rng: np.random.Generator, side: int, octaves: tuple[int, ...], weights: tuple[float, ...]) -> Array:
    """Smooth noise of zero mean, [side, side], about -1..1: random lattices, enlarged and summed."""
    total = np.zeros((side, side))
    for cells, weight in zip(octaves, weights, strict=True):
        lattice = Image.fromarray((rng.random((cells, cells)) * 255).astype(np.uint8))
        total += weight * (np.asarray(lattice.resize((side, side), Image.Resampling.BICUBIC)) / 127.5 - 1)
    return total


def _grid(side: int = TEXTURE_SIDE) -> tuple[Array, Array]:
    y, x = np.mgrid[0:side, 0:side] / side
    return y, x


def _coat(rgb: tuple[float, float, float], relief: Array) -> Array:
    return np.array(rgb) * (1 + relief[..., None])


def _sand(rng: np.random.Generator) -> Array:
    return _coat((0.80, 0.64, 0.38), 0.14 * noise(rng, 128, (6, 20, 64), (1, 0.7, 0.6)))


def _snow(rng: np.random.Generator) -> Array:
    return _coat((0.84, 0.88, 0.94), 0.07 * noise(rng, 128, (5, 14), (1, 0.6)))


def _grass(rng: np.random.Generator) -> Array:
    lawn = _coat((0.12, 0.36, 0.05), 0.45 * noise(rng, 128, (5, 32, 64), (0.5, 0.7, 0.8)))
    for colour in ((0.9, 0.85, 0.85), (0.9, 0.7, 0.05)):
        rows, columns = rng.integers(2, 126, (2, 16))
        for dy, dx in ((0, 0), (0, 1), (1, 0), (1, 1)):
            lawn[rows + dy, columns + dx] = colour
    return lawn


def _boards(rng: np.random.Generator) -> Array:
    _, x = _grid()
    row = np.floor(x * 8).astype(int)
    tone = 0.72 + 0.5 * rng.random(8)[row]
    grain = 0.16 * noise(rng, 128, (64,), (1.0,))[:, :1].T * 0 + 0.14 * np.repeat(
        noise(rng, 128, (96,), (1.0,))[:1], 128, 0
    )
    wood = np.array((0.45, 0.21, 0.075)) * (tone * (1 + grain))[..., None]
    return wood * np.where(x * 8 % 1 < 0.07, 0.4, 1)[..., None]


def _cobbles(rng: np.random.Generator) -> Array:
    y, x = _grid()
    row = np.floor(y * 8).astype(int)
    shifted = x * 8 + 0.5 * (row % 2)
    column = np.floor(shifted).astype(int) % 8
    tone = 0.6 + 0.8 * rng.random((8, 8))[row, column]
    edge = np.maximum(np.abs(y * 8 % 1 - 0.5), np.abs(shifted % 1 - 0.5))
    stone = np.array((0.30, 0.30, 0.33)) * (tone * (1.1 - edge**2))[..., None]
    return np.where(edge[..., None] > 0.42, np.array((0.09, 0.085, 0.08)), stone)


def _dunes(rng: np.random.Generator) -> Array:
    y, _ = _grid()
    bend = noise(rng, 128, (4, 8), (0.8, 0.3))
    return _coat(
        (0.76, 0.33, 0.10),
        0.16 * np.sin(2 * np.pi * (6 * y + 0.6 * bend)) + 0.06 * noise(rng, 128, (32,), (1,)),
    )


def _ripples(rng: np.random.Generator) -> Array:
    y, x = _grid()
    bend = noise(rng, 128, (4, 8), (1.0, 0.5))
    wave = 0.55 * np.sin(2 * np.pi * (7 * y + 0.9 * bend)) + 0.45 * np.sin(
        2 * np.pi * (2 * x + 11 * y + 0.8 * bend)
    )
    sea = np.array((0.03, 0.24, 0.46)) * (1 + 0.42 * wave[..., None])
    return sea + 0.35 * np.clip(wave - 0.72, 0, 1)[..., None]


def _pavement(rng: np.random.Generator) -> Array:
    y, x = _grid()
    slab = _coat((0.42, 0.40, 0.37), 0.1 * noise(rng, 128, (8, 64), (1, 0.6)))
    return slab * np.where((x * 3 % 1 < 0.025) | (y * 3 % 1 < 0.025), 0.5, 1)[..., None]


def _moonlit(rng: np.random.Generator) -> Array:
    return _coat((0.15, 0.175, 0.28), 0.22 * noise(rng, 128, (5, 16, 64), (1, 0.7, 0.4)))


def _paper(rng: np.random.Generator) -> Array:
    return np.ones((128, 128, 3)) * np.clip(rng.uniform(0.5, 0.78) + rng.uniform(-0.08, 0.08, 3), 0, 1)


def _leaves(rng: np.random.Generator) -> Array:
    floor = _coat((0.17, 0.10, 0.045), 0.4 * noise(rng, 128, (6, 32, 64), (0.6, 0.8, 0.8)))
    for colour in ((0.12, 0.25, 0.04), (0.35, 0.16, 0.04), (0.10, 0.20, 0.05)):
        rows, columns = rng.integers(3, 124, (2, 34))
        for dy, dx in ((0, 0), (0, 1), (1, 0), (1, 1), (1, 2), (0, 2)):
            floor[rows + dy, columns + dx] = colour
    return floor


def _tiles(rng: np.random.Generator) -> Array:
    y, x = _grid()
    dark = (np.floor(x * 4) + np.floor(y * 4)) % 2 > 0
    tint = np.array(((0.05, 0.06, 0.07), (0.30, 0.05, 0.04), (0.04, 0.12, 0.26))[int(rng.integers(3))])
    return np.where(dark[..., None], tint, np.array((0.74, 0.73, 0.69))) * (
        1 + 0.05 * noise(rng, 128, (16,), (1,))[..., None]
    )


_GROUNDS: dict[str, Callable[[np.random.Generator], Array]] = {
    "beach": _sand, "snow": _snow, "meadow": _grass, "floor": _boards, "street": _cobbles,
    "desert": _dunes, "water": _ripples, "wall": _pavement, "night": _moonlit,
    "studio": _paper, "forest": _leaves, "kitchen": _tiles,
}  # fmt: skip


@lru_cache(maxsize=len(PLACES) * VARIANTS)
def ground(context: str, variant: int) -> np.ndarray[tuple[int, int, int], np.dtype[np.float32]]:
    """Reflectance of the ground, [128, 128, 3], linear; one of `VARIANTS` per context."""
    rng = np.random.default_rng([7, variant, sorted(PLACES).index(context)])
    return np.clip(_GROUNDS[context](rng) * rng.uniform(0.88, 1.1), 0.01, 0.95).astype(np.float32)


@lru_cache(maxsize=3 * VARIANTS)
def upright(context: str, variant: int) -> np.ndarray[tuple[int, int, int], np.dtype[np.float32]]:
    """Reflectance of the wall behind: bricks, tiles or paint; [128, 128, 3], linear, 2.4 units a side."""
    rng = np.random.default_rng([11, variant, sorted(PLACES).index(context)])
    y, x = _grid()
    if context == "wall":
        row = np.floor(y * 9).astype(int)
        shifted = x * 4 + 0.5 * (row % 2)
        tone = 0.65 + 0.6 * rng.random((9, 4))[row, np.floor(shifted).astype(int) % 4]
        bricks = np.array((0.50, 0.12, 0.06)) * tone[..., None]
        joint = (y * 9 % 1 < 0.15) | (shifted % 1 < 0.07)
        return np.clip(np.where(joint[..., None], np.array((0.52, 0.47, 0.42)), bricks), 0, 1).astype(
            np.float32
        )
    if context == "kitchen":
        joint = (y * 5 % 1 < 0.06) | (x * 5 % 1 < 0.06)
        glaze = np.array(((0.42, 0.66, 0.70), (0.62, 0.72, 0.60), (0.78, 0.74, 0.60))[int(rng.integers(3))])
        return np.where(
            joint[..., None], np.array((0.85, 0.85, 0.83)), glaze * rng.uniform(0.92, 1.05)
        ).astype(np.float32)
    paint = np.clip(np.array((0.62, 0.54, 0.42)) + rng.uniform(-0.22, 0.22, 3), 0.05, 0.9)
    return (np.ones((128, 128, 3)) * paint).astype(np.float32)
