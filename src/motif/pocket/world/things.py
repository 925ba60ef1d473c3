"""Toys that stand: crockery, chair, house, plants. Eight shape numbers in 0..1; facing is +x, z is up."""

from __future__ import annotations

from collections.abc import Sequence

from motif.pocket.world.solids import Sculpture, Toy, ball, block, flat, lathe, ring, rod, tube, turn

Shape = Sequence[float]


def teapot(p: Shape) -> Toy:
    """Round pot with lid and knob, curved spout in front, loop handle behind."""
    toy = Sculpture()
    wide, high = 0.56 + 0.12 * p[0], 0.78 + 0.24 * p[1]
    pot = [
        (0.0, 0.0),
        (wide * 0.66, 0.0),
        (wide * (0.92 + 0.1 * p[2]), high * 0.32),
        (wide * 0.9, high * 0.66),
        (wide * 0.5, high),
    ]
    toy.add(lathe(pot, smooth=True), "main")
    lid = [
        (wide * 0.56, high * 0.97),
        (wide * 0.5, high * 1.03),
        (wide * 0.26, high * 1.13),
        (0.0, high * 1.17),
    ]
    toy.add(lathe(lid, smooth=True), "second")
    knob = 0.1 + 0.04 * p[3]
    toy.add(ball(3), "accent", (0, 0, high * 1.15 + knob * 0.8), knob)
    lip = high * (0.9 + 0.2 * p[4])
    spout = [
        (wide * 0.6, 0, high * 0.28),
        (wide * 1.2, 0, high * 0.42),
        (wide * 1.4, 0, high * 0.7),
        (wide * 1.75, 0, lip),
    ]
    toy.add(tube(spout, (0.21, 0.17, 0.12, 0.085)), "second")
    grip, arch = wide * (1.45 + 0.3 * p[5]), 0.075 + 0.025 * p[6]
    handle = [
        (-wide * 0.75, 0, high * 0.8),
        (-grip, 0, high * 0.86),
        (-grip * 1.06, 0, high * 0.5),
        (-wide * 0.8, 0, high * 0.24),
    ]
    toy.add(tube(handle, (arch,) * 4), "second")
    if p[7] > 0.5:
        toy.add(ring(0.09), "accent", (0, 0, high * 0.04), (wide * 0.72, wide * 0.72, 0.6))
    return toy.toy(top=(0, 0, high * 1.16 + knob), brim=0.34)


def mug(p: Shape) -> Toy:
    """Straight or flaring cup, drink inside, a big loop handle."""
    toy = Sculpture()
    foot, high = 0.46 + 0.1 * p[0], 0.95 + 0.3 * p[1]
    lip = foot * (0.95 + 0.28 * p[2])
    wall = 0.07
    cup = [(0.0, 0.0), (foot * 0.94, 0.0), (foot, 0.05), (lip, high), (lip - wall, high), (foot - wall, 0.1)]
    toy.add(lathe(cup, around=52), "main")
    toy.add(rod(), "brown", (0, 0, high * 0.82), (lip - wall * 0.9, lip - wall * 0.9, 0.02))
    toy.add(ring(0.09), "second", (0, 0, high), (lip - wall * 0.4, lip - wall * 0.4, 0.55))
    out, thick = 0.36 + 0.14 * p[3], 0.08 + 0.03 * p[4]
    handle = [
        (-lip * 0.93, 0, high * 0.82),
        (-lip - out, 0, high * 0.78),
        (-lip - out, 0, high * 0.34),
        (-foot * 0.95, 0, high * 0.24),
    ]
    toy.add(tube(handle, (thick,) * 4), "second")
    if p[5] > 0.45:
        low = high * (0.16 + 0.3 * p[6])
        r0, r1 = (foot + (lip - foot) * z / high + 0.012 for z in (low, low + high * 0.17))
        toy.add(lathe([(r0, low), (r1, low + high * 0.17)], around=52), "accent")
    return toy.toy(top=(0, 0, high + 0.02), brim=0.42)


def chair(p: Shape) -> Toy:
    """Seat on four legs, a back of one board or of bars, sometimes arms and a cushion."""
    toy = Sculpture()
    half, seat, back = 0.44 + 0.08 * p[0], 0.58 + 0.16 * p[1], 0.78 + 0.28 * p[2]
    thick, leg = 0.06 + 0.03 * p[3], 0.07 + 0.025 * p[4]
    toy.add(block(half, half, thick, 0.04), "main", (0, 0, seat))
    for x in (-0.84, 0.84):
        for y in (-0.84, 0.84):
            toy.limb((x * half * 1.06, y * half * 1.06, 0), (x * half, y * half, seat), leg, "second")
    for side in (-1, 1):
        toy.limb(
            (-half * 0.92, side * half * 0.86, seat),
            (-half * 1.1, side * half * 0.86, seat + back),
            leg * 0.9,
            "second",
        )
        if p[6] > 0.6:
            toy.add(block(half * 0.9, 0.06, 0.045, 0.03), "second", (-0.06, side * half * 0.96, seat + 0.36))
            toy.limb(
                (half * 0.7, side * half * 0.96, seat),
                (half * 0.7, side * half * 0.96, seat + 0.36),
                leg * 0.8,
                "second",
            )
    if p[5] > 0.4:
        toy.add(
            block(0.05, half * 0.98, back * 0.36, 0.05),
            "main",
            (-half * 1.04, 0, seat + back * 0.62),
            turned=turn("y", -6),
        )
    else:
        for k in (0.36, 0.66, 0.96):
            toy.add(
                block(0.045, half * 0.9, 0.085, 0.03), "main", (-half * (0.94 + 0.15 * k), 0, seat + back * k)
            )
    if p[7] > 0.45:
        toy.add(ball(3), "accent", (0.02, 0, seat + thick + 0.03), (half * 0.84, half * 0.84, 0.1))
    return toy.toy(top=(-half * 1.08, 0, seat + back * 1.0), brim=0.34)


def house(p: Shape) -> Toy:
    """Walls, a wide gable roof, door, windows, chimney. The door is in +x."""
    toy = Sculpture()
    x, y, wall, roof = 0.56 + 0.12 * p[0], 0.62 + 0.14 * p[1], 0.36 + 0.1 * p[2], 0.5 + 0.22 * p[3]
    high = 2 * wall
    toy.add(block(x, y, wall, 0.02, 18), "main", (0, 0, wall))
    toy.add(
        flat(
            [
                [(x, -y, high), (x, y, high), (x, 0, high + roof * 0.92)],
                [(-x, y, high), (-x, -y, high), (-x, 0, high + roof * 0.92)],
            ]
        ),
        "main",
    )
    over, eave, rise = 0.14, 0.16, roof / y
    for side in (-1, 1):
        low = high - eave * rise
        slope = [
            (-x - over, side * (y + eave), low),
            (x + over, side * (y + eave), low),
            (x + over, 0, high + roof),
            (-x - over, 0, high + roof),
        ]
        under = [(a, b, c - 0.07) for a, b, c in slope]
        ends = [[slope[k], slope[(k + 1) % 4], under[(k + 1) % 4], under[k]] for k in range(4)]
        toy.add(flat([slope, under, *ends]), "second")
    toy.add(block(0.03, 0.17, wall * 0.62, 0.01), "accent", (x, 0.22 * (2 * p[4] - 1), wall * 0.62))
    toy.add(ball(2), "yellow", (x + 0.04, 0.22 * (2 * p[4] - 1) + 0.1, wall * 0.6), 0.035)
    toy.add(rod(), "white", (x - 0.01, 0, high + roof * 0.32), (0.14, 0.14, 0.05), turn("y", 90))
    toy.add(rod(), "blue", (x - 0.01, 0, high + roof * 0.32), (0.1, 0.1, 0.065), turn("y", 90))
    for side in (-1, 1):
        for k in (-0.5, 0.5):
            toy.add(block(0.19, 0.03, 0.19, 0.01), "white", (k * x, side * y, wall * 1.15))
            toy.add(block(0.14, 0.045, 0.14, 0.01), "blue", (k * x, side * y, wall * 1.15))
    cy = 0.4 * y * (1 if p[5] > 0.5 else -1)
    top = high + roof + 0.06 + 0.16 * p[6]
    toy.limb((-x * 0.4, cy, high), (-x * 0.4, cy, top), 0.14, "accent")
    return toy.toy(top=(0.1, 0, high + roof - 0.03), brim=0.36)


def mushroom(p: Shape) -> Toy:
    """Domed cap on a thick stem."""
    toy = Sculpture()
    stem, high, cap, dome = 0.22 + 0.08 * p[0], 0.62 + 0.2 * p[1], 0.68 + 0.16 * p[2], 0.5 + 0.24 * p[3]
    foot = stem * (1.15 + 0.5 * p[4])
    toy.add(
        lathe([(0.0, 0.0), (foot, 0.04), (stem, high * 0.55), (stem * 0.95, high + 0.1)], smooth=True),
        "second",
    )
    top = [
        (cap * 0.97, high - 0.05),
        (cap, high + 0.06),
        (cap * 0.86, high + dome * 0.5),
        (cap * 0.45, high + dome * 0.9),
        (0.0, high + dome),
    ]
    toy.add(lathe(top, smooth=True, around=64), "main")
    toy.add(lathe([(stem * 0.8, high + 0.1), (cap * 0.97, high - 0.05)]), "accent")
    if p[5] > 0.5:
        toy.add(lathe([(stem * 1.5, high * 0.62), (stem * 0.95, high * 0.74)]), "accent")
    if p[6] > 0.5:
        small = 0.4 + 0.16 * p[7]
        at = (0.3, -0.42, 0)
        toy.add(lathe([(0.0, 0.0), (foot, 0.04), (stem, high)], smooth=True), "second", at, small)
        toy.add(lathe(top, smooth=True), "main", at, small)
    return toy.toy(top=(0, 0, high + dome * 0.97), brim=0.36)


def cactus(p: Shape) -> Toy:
    """Ribbed column with bent arms in a flower pot, a flower on top."""
    toy = Sculpture()
    pot, rim = 0.36 + 0.08 * p[0], 0.4 + 0.1 * p[1]
    toy.add(
        lathe(
            [
                (0.0, 0.0),
                (pot * 0.78, 0.0),
                (pot, rim),
                (pot * 1.14, rim),
                (pot * 1.14, rim + 0.13),
                (0.0, rim + 0.11),
            ]
        ),
        "second",
    )
    wide, high = 0.23 + 0.05 * p[2], 0.95 + 0.3 * p[3]
    column = [
        (wide * 0.85, 0.0),
        (wide, high * 0.35),
        (wide, high * 0.8),
        (wide * 0.6, high * 0.97),
        (0.0, high * 1.04),
    ]
    toy.add(lathe(column, smooth=True), "main", (0, 0, rim + 0.08))
    for side, start, reach in (
        (-1, 0.34 + 0.2 * p[4], 0.26 + 0.12 * p[5]),
        (1, 0.5 - 0.2 * p[4], 0.3 + 0.14 * p[6]),
    ):
        z, out = rim + high * start, side * (wide + 0.24)
        arm = [
            (0, side * wide * 0.7, z),
            (0, side * (wide + 0.13), z + 0.02),
            (0, out, z + 0.16),
            (0, out, z + 0.16 + reach),
        ]
        toy.add(tube(arm, (0.12, 0.13, 0.13, 0.12)), "main")
    tip = rim + high * 1.1
    if p[7] > 0.3:
        for k in range(5):
            toy.add(ball(2), "accent", (0.02, 0, tip + 0.02), (0.07, 0.17, 0.06), turn("z", 36 * k))
        toy.add(ball(2), "yellow", (0, 0, tip + 0.05), 0.07)
    return toy.toy(top=(0, 0, tip), brim=0.34)
