"""From an `Instance` to a coloured mesh: sculpted, brought to one size, painted; and what it wears."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from motif.pocket.world import animals, things, vehicles
from motif.pocket.world.scene import PALETTE, Instance
from motif.pocket.world.solids import Array, Sculpture, Solid, Toy, ball, block, lathe, ring, turn

SCULPT: dict[str, Callable[[tuple[float, ...]], Toy]] = {
    "dog": animals.dog, "cat": animals.cat, "duck": animals.duck, "robot": animals.robot,
    "snowman": animals.snowman,
    "car": vehicles.car, "teapot": things.teapot, "mug": things.mug, "chair": things.chair,
    "house": things.house,
    "boat": vehicles.boat, "rocket": vehicles.rocket, "mushroom": things.mushroom, "cactus": things.cactus,
}  # fmt: skip
TOY_SIZE = 1.75
"""Height, or 0.8 of the footprint's diagonal, that each toy is scaled to."""


@dataclass(frozen=True, slots=True)
class Mesh:
    """A solid with its colours."""

    solid: Solid
    colours: Array  # [vertex, 3], linear RGB


@dataclass(frozen=True, slots=True)
class Model:
    """An instance in the world: standing on z = 0 around x = y = 0, facing +x."""

    mesh: Mesh
    top: Array  # [3]
    brim: float
    neck: Array | None  # [3]
    neck_radius: float


@lru_cache(maxsize=4)
def build(instance: Instance) -> Model:
    """The instance as a mesh of one size, and where things are worn on it."""
    toy = SCULPT[instance.noun](instance.shape)
    vertices = toy.solid.vertices
    low, high = vertices.min(0), vertices.max(0)
    diagonal = float(np.hypot(high[0] - low[0], high[1] - low[1]))
    scale = TOY_SIZE / max(high[2] - low[2], 0.8 * diagonal)
    centre = np.array([(low[0] + high[0]) / 2, (low[1] + high[1]) / 2, low[2]])
    solid = Solid((vertices - centre) * scale, toy.solid.normals, toy.solid.faces)
    return Model(
        Mesh(solid, _painted(instance, toy, solid)),
        (toy.top - centre) * scale,
        toy.brim * scale,
        None if toy.neck is None else (toy.neck - centre) * scale,
        toy.neck_radius * scale,
    )


def _painted(instance: Instance, toy: Toy, solid: Solid) -> Array:
    """Colour of each vertex: by its part's role; the main role carries the pattern."""
    roles = {
        "main": instance.main.rgb,
        "second": instance.second.rgb,
        "accent": instance.accent.rgb,
        "eye": PALETTE[instance.eye],
    }
    table = np.array([roles[name] if name in roles else PALETTE[name] for name in toy.paints])
    colours = table[toy.roles]
    if instance.pattern != "plain" and "main" in toy.paints:
        main = toy.roles == toy.paints.index("main")
        marked = np.zeros_like(main)
        marked[main] = pattern_mask(instance, solid.vertices[main])
        colours[marked] = instance.contrast.rgb
    return colours


def pattern_mask(instance: Instance, points: Array) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Where on the surface the pattern's second colour is. `points` [n, 3] in toy units."""
    rng = np.random.default_rng(instance.pattern_seed)
    period = instance.pattern_scale * TOY_SIZE
    if instance.pattern == "striped":
        tilt, spin = np.radians(instance.pattern_tilt), np.radians(rng.uniform(35, 55))
        direction = np.array([np.cos(tilt) * np.cos(spin), np.cos(tilt) * np.sin(spin), np.sin(tilt)])
        return (points @ direction / period + rng.random()) % 1 < rng.uniform(0.4, 0.5)
    if instance.pattern == "checked":
        spin = turn("z", 45)
        cells = np.floor(points @ spin / (period * 0.8) + rng.uniform(0.3, 0.7, 3))
        return cells.sum(1) % 2 == 0
    centres = _scattered(points, period * 1.05, rng)
    nearest = ((points[:, None] - centres[None]) ** 2).sum(-1).min(1)
    return nearest < (period * 0.33) ** 2


def _scattered(points: Array, apart: float, rng: np.random.Generator) -> Array:
    """Surface points at least `apart` from each other: dart throwing over a random order of 600 vertices."""
    chosen = points[rng.permutation(len(points))[:600]]
    kept: list[Array] = []
    for point in chosen:
        if all(((point - other) ** 2).sum() > apart**2 for other in kept):
            kept.append(point)
    return np.array(kept)


def hat(model: Model, colour: Array) -> Mesh:
    """A top hat with a contrasting band, on the model's head."""
    radius = max(model.brim, 0.22)
    crown, tall = radius * 0.62, radius * 1.05
    pale = float(colour.mean()) > 0.4
    art = Sculpture()
    art.add(lathe([(0.0, -0.03), (radius, -0.03), (radius, 0.03), (crown, 0.03)]), "hat")
    art.add(lathe([(crown, 0.0), (crown * 1.06, tall), (0.0, tall)]), "hat")
    art.add(lathe([(crown * 1.04, 0.03), (crown * 1.05, 0.03 + tall * 0.24)]), "band")
    return _two_tone(art, model.top, {"hat": colour, "band": np.array(PALETTE["black" if pale else "white"])})


def scarf(model: Model, colour: Array) -> Mesh:
    """A thick ring with a hanging end in front, round the model's neck."""
    assert model.neck is not None
    radius = model.neck_radius
    art = Sculpture()
    art.add(ring(0.36), "scarf", (0, 0, 0), (radius, radius, radius * 0.9), turn("y", 8))
    art.add(block(0.05, 0.11, 0.26, 0.04), "scarf", (radius * 1.3, radius * 0.5, -0.26), turned=turn("x", 8))
    art.add(
        block(0.055, 0.115, 0.035, 0.01), "band", (radius * 1.3, radius * 0.5, -0.42), turned=turn("x", 8)
    )
    return _two_tone(art, model.neck, {"scarf": colour, "band": np.array(PALETTE["white"])})


def beside(kind: str, colour: Array, size: float) -> Mesh:
    """A ball with a pale cap and belt, or a parcel with a ribbon, standing on z = 0."""
    art = Sculpture()
    pale = np.array(PALETTE["black" if float(colour.mean()) > 0.6 else "white"])
    if kind == "ball":
        art.add(ball(4), "body", (0, 0, size), size)
        art.add(ring(0.09), "band", (0, 0, size), size * 0.95, turn("x", 55))
    else:
        art.add(block(size * 0.9, size * 0.9, size * 0.9, 0.02), "body", (0, 0, size * 0.9))
        for x, y in ((0.92, 0.2), (0.2, 0.92)):
            art.add(block(size * x, size * y, size * 0.92, 0.01), "band", (0, 0, size * 0.9))
    return _two_tone(art, np.zeros(3), {"body": colour, "band": pale})


def _two_tone(art: Sculpture, at: Array, paints: dict[str, Array]) -> Mesh:
    toy = art.toy(top=(0, 0, 0), brim=0.0)
    table = np.array([paints[name] for name in toy.paints])
    return Mesh(Solid(toy.solid.vertices + at, toy.solid.normals, toy.solid.faces), table[toy.roles])
