"""Toys that travel: car, boat, rocket. Each takes eight shape numbers in 0..1; facing is +x, z is up."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from motif.pocket.world.solids import Sculpture, Solid, Toy, ball, block, flat, lathe, ring, rod, turn

Shape = Sequence[float]


def car(p: Shape) -> Toy:
    """Rounded body, cabin with dark windows, four wheels, headlights."""
    toy = Sculpture()
    long, wide, high, wheel = 0.86 + 0.14 * p[0], 0.42 + 0.06 * p[1], 0.2 + 0.06 * p[2], 0.23 + 0.07 * p[3]
    floor = wheel * 0.8
    toy.add(block(long, wide, high, 0.12), "main", (0, 0, floor + high))
    cabin, roof = 0.44 + 0.14 * p[4], 0.22 + 0.09 * p[5]
    at, z = -0.14 + 0.1 * p[6], floor + 2 * high + roof * 0.75
    toy.add(block(cabin, wide * 0.86, roof, 0.1), "second", (at, 0, z))
    toy.add(block(cabin * 0.74, wide * 0.88, roof * 0.56, 0.03), "black", (at, 0, z))
    toy.add(block(cabin * 1.02, wide * 0.68, roof * 0.56, 0.03), "black", (at, 0, z))
    toy.add(block(0.05, wide * 0.89, roof * 0.7, 0.01), "second", (at, 0, z))
    for x in (-0.6, 0.6):
        for side in (-1, 1):
            hub = (x * long, side * wide * 0.9, wheel)
            toy.add(rod(), "black", hub, (wheel, wheel, 0.13), turn("x", -side * 90))
            toy.add(rod(), "accent", hub, (wheel * 0.55, wheel * 0.55, 0.15), turn("x", -side * 90))
    for side in (-1, 1):
        toy.add(ball(2), "yellow", (long * 0.98, side * wide * 0.62, floor + high * 1.1), (0.06, 0.1, 0.1))
        toy.add(ball(2), "red", (-long * 0.98, side * wide * 0.62, floor + high * 1.1), (0.05, 0.09, 0.08))
    toy.add(block(0.05, wide * 0.9, 0.06, 0.03), "gray", (long, 0, floor + 0.08))
    return toy.toy(top=(at, 0, z + roof * 0.97), brim=0.36)


def boat(p: Shape) -> Toy:
    """Chunky hull with a pointed bow, mast, a big sail in front and a small one behind, flag."""
    toy = Sculpture()
    long, wide, deep = 0.9 + 0.15 * p[0], 0.36 + 0.08 * p[1], 0.4 + 0.12 * p[2]
    toy.add(_hull(long, wide, deep), "main")
    toy.add(ring(0.07), "accent", (-0.06, 0, deep * 1.0), (long * 0.86, wide * 0.86, 0.5))
    mast = deep + 1.15 + 0.35 * p[3]
    at = 0.02 + 0.16 * p[4]
    toy.limb((at, 0, deep * 0.4), (at, 0, mast), 0.05, "brown")
    low, tip = deep + 0.16, mast - 0.1
    aft, fore = 0.66 + 0.14 * p[5], 0.5 + 0.14 * p[6]
    for y in (-0.02, 0.02):
        sails = [
            [(at - 0.06, y, low), (at - 0.06, y, tip), (at - aft, y, low + 0.02)],
            [(at + 0.07, y, low + 0.12), (at + 0.07, y, tip - 0.14), (at + fore, y, low + 0.08)],
        ]
        toy.add(flat(sails[:1]), "second")
        toy.add(flat(sails[1:]), "accent" if p[7] > 0.5 else "second")
    toy.add(flat([[(at, 0.0, mast), (at, 0.0, mast - 0.16), (at - 0.26, 0.0, mast - 0.08)]]), "accent")
    return toy.toy(top=(at, 0, mast - 0.02), brim=0.32)


def _hull(long: float, wide: float, deep: float) -> Solid:
    """A half-round bowl with a drawn-out bow: lathe of a bowl, stretched."""
    bowl = lathe(
        [(0.0, 0.0), (0.62, 0.02), (0.86, 0.45), (1.0, 1.0), (0.9, 1.0), (0.84, 0.86), (0.0, 0.84)],
        around=60,
        step=0.1,
    )
    v = bowl.vertices.copy()
    bow = np.clip(v[:, 0], 0, 1)
    v[:, 1] *= wide * (1 - 0.5 * bow**2)
    v[:, 0] *= long * (1 + 0.14 * bow * v[:, 2])
    v[:, 2] = v[:, 2] * deep + 0.16 * bow**2 * v[:, 2]
    normals = bowl.normals / np.array([long, wide, deep])
    return Solid(v, normals / np.linalg.norm(normals, axis=1, keepdims=True), bowl.faces)


def rocket(p: Shape) -> Toy:
    """Bullet body, coloured nose, round window, three fins, nozzle."""
    toy = Sculpture()
    wide, high, lift = 0.33 + 0.09 * p[0], 1.5 + 0.35 * p[1], 0.3
    nose = 0.62 + 0.12 * p[2]
    body = [(wide * 0.62, 0.0), (wide * 0.95, high * 0.22), (wide, high * 0.45), (wide * 0.86, high * nose)]
    toy.add(lathe(body, smooth=True), "main", (0, 0, lift))
    cone = [
        (wide * 0.88, high * nose - 0.005),
        (wide * 0.62, high * (nose + 0.17)),
        (wide * 0.22, high * 0.98),
        (0.0, high * 1.04),
    ]
    toy.add(lathe(cone, smooth=True), "second", (0, 0, lift))
    toy.add(lathe([(wide * 0.6, -0.12), (wide * 0.45, 0.02)]), "gray", (0, 0, lift))
    window = lift + high * 0.5
    toy.add(rod(), "accent", (wide * 0.8, 0, window), (wide * 0.52, wide * 0.52, wide * 0.25), turn("y", 90))
    toy.add(ball(3), "white", (wide * 1.02, 0, window), (0.05, wide * 0.36, wide * 0.36))
    fin, root = wide + 0.3 + 0.14 * p[3], high * (0.36 + 0.08 * p[4])
    count = 3 if p[5] > 0.5 else 4
    for k in range(count):
        outline = [
            (wide * 0.55, 0.0, root),
            (fin, 0.0, root * 0.42 - 0.02),
            (fin * 1.02, 0.0, -lift),
            (wide * 0.6, 0.0, 0.02),
        ]
        left, right = ([(x, y, z) for x, _, z in outline] for y in (-0.045, 0.045))
        edges = [[left[j], left[(j + 1) % 4], right[(j + 1) % 4], right[j]] for j in range(4)]
        toy.add(flat([left, right, *edges]), "second", (0, 0, lift), turned=turn("z", 45 + 360 * k / count))
    if p[6] > 0.5:
        toy.add(ring(0.09), "accent", (0, 0, lift + high * 0.2), (wide * 0.95, wide * 0.95, 0.6))
    return toy.toy(top=(0, 0, lift + high * 0.99), brim=0.3)
