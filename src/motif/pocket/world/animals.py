"""Toys with a face: dog, cat, duck, robot, snowman. Eight shape numbers each, 0..1; facing is +x, z up."""

from __future__ import annotations

from collections.abc import Sequence

from motif.pocket.world.solids import Sculpture, Toy, ball, block, lathe, ring, rod, tube, turn

Shape = Sequence[float]


def _eyes(toy: Sculpture, x: float, y: float, z: float, size: float, paint: str) -> None:
    """Two white eyes with coloured pupils, looking to +x."""
    for side in (-1, 1):
        toy.add(ball(2), "white", (x, side * y, z), size)
        toy.add(ball(2), paint, (x + 0.55 * size, side * y, z), 0.68 * size)


def dog(p: Shape) -> Toy:
    """Stands on four legs: long snout, hanging ears, tail up."""
    toy = Sculpture()
    legs, long, round_, head = 0.34 + 0.22 * p[0], 0.48 + 0.2 * p[1], 0.25 + 0.08 * p[2], 0.33 + 0.07 * p[3]
    spine = legs + round_ * 0.7
    toy.add(block(long, round_, round_, round_ * 0.85), "main", (0, 0, spine))
    for x in (-0.72, 0.72):
        for y in (-0.58, 0.58):
            toy.limb((x * long, y * round_, 0.06), (x * long, y * round_, spine), 0.105 + 0.03 * p[4], "main")
            toy.add(ball(2), "second", (x * long + 0.05, y * round_, 0.08), (0.17, 0.13, 0.1))
    hx, hz = long + 0.1, spine + round_ + head * 0.75 + 0.06 * p[5]
    toy.limb((long * 0.65, 0, spine), (hx, 0, hz), 0.2, "main")
    toy.add(ball(4), "main", (hx, 0, hz), (head, head * 0.92, head * 0.92))
    snout = 0.25 + 0.12 * p[6]
    toy.add(block(snout, 0.17, 0.13, 0.12), "second", (hx + head * 0.55 + snout * 0.6, 0, hz - 0.1))
    toy.add(ball(2), "black", (hx + head * 0.55 + snout * 1.6, 0, hz - 0.01), (0.1, 0.11, 0.085))
    for side in (-1, 1):
        drop = 0.26 + 0.14 * p[7]
        ear = (hx - 0.06, side * head * 0.98, hz + 0.12 - drop * 0.6)
        toy.add(ball(3), "second", ear, (0.16, 0.075, drop), turn("x", side * 10))
    _eyes(toy, hx + head * 0.8, head * 0.4, hz + 0.14, 0.082, "black")
    tail = [
        (-long * 0.95, 0, spine + 0.1),
        (-long - 0.2, 0, spine + 0.28),
        (-long - 0.22, 0, spine + 0.62 + 0.2 * p[1]),
    ]
    toy.add(tube(tail, (0.09, 0.08, 0.055)), "main")
    toy.add(ring(0.28), "accent", (long * 0.84, 0, spine + 0.28), (0.23, 0.23, 0.23), turn("y", 32))
    return toy.toy(
        top=(hx - 0.03, 0, hz + head * 0.84), brim=0.36, neck=(long * 0.86, 0, spine + 0.3), neck_radius=0.27
    )


def cat(p: Shape) -> Toy:
    """Sits upright: pear body, big head, tall pointed ears, bright eyes, a long tail at the side."""
    toy = Sculpture()
    tall, wide, head = 0.72 + 0.24 * p[0], 0.36 + 0.08 * p[1], 0.43 + 0.07 * p[2]
    pear = [
        (0.0, 0.0),
        (wide * 0.9, 0.06),
        (wide, tall * 0.28),
        (wide * 0.7, tall * 0.75),
        (wide * 0.45, tall),
        (0.0, tall * 1.06),
    ]
    toy.add(lathe(pear, smooth=True), "main")
    toy.add(ball(3), "second", (wide * 0.5, 0, tall * 0.5), (wide * 0.42, wide * 0.5, tall * 0.38))
    hz = tall + head * 0.62
    toy.add(ball(4), "main", (0.06, 0, hz), (head * 0.9, head * 1.12, head * 0.84))
    for side in (-1, 1):
        ear, at = 0.46 + 0.16 * p[3], (0.02, side * head * 0.68, hz + head * 0.34)
        toy.add(rod(0.0), "main", at, (0.17, 0.26, ear), turn("x", -side * 15))
        toy.add(
            rod(0.0),
            "pink",
            (0.12, side * head * 0.68, hz + head * 0.4),
            (0.1, 0.15, ear * 0.68),
            turn("x", -side * 15),
        )
        toy.add(ball(2), "second", (0.06 + head * 0.76, side * 0.095, hz - 0.15), (0.12, 0.13, 0.1))
        toy.add(ball(2), "eye", (0.06 + head * 0.7, side * head * 0.45, hz + 0.08), (0.1, 0.125, 0.13))
        toy.add(ball(2), "black", (0.14 + head * 0.72, side * head * 0.45, hz + 0.08), (0.05, 0.045, 0.11))
        toy.limb((wide * 0.78, side * 0.15, 0.06), (wide * 0.5, side * 0.17, tall * 0.62), 0.11, "main")
        toy.add(ball(2), "second", (wide * 0.95, side * 0.16, 0.08), (0.17, 0.13, 0.1))
        toy.add(ball(3), "main", (0.02, side * wide * 0.8, 0.2), (0.32, 0.18, 0.23))
    toy.add(ball(2), "pink", (0.17 + head * 0.8, 0, hz - 0.07), (0.055, 0.07, 0.05))
    way = 1 if p[4] > 0.5 else -1
    reach, out = 0.45 + 0.3 * p[5], wide + 0.38
    tail = [
        (-wide * 0.7, 0, 0.1),
        (-wide * 1.1, way * 0.35, 0.13),
        (-wide * 0.9, way * out, 0.3),
        (-wide * 0.8, way * out, 0.4 + reach),
    ]
    toy.add(
        tube([*tail, (-wide * 0.7, way * (out + 0.14), 0.58 + reach)], (0.11, 0.11, 0.1, 0.09, 0.07)), "main"
    )
    return toy.toy(
        top=(0.04, 0, hz + head * 0.76), brim=0.24, neck=(0.05, 0, tall * 1.0), neck_radius=wide * 0.66
    )


def duck(p: Shape) -> Toy:
    """Round body with a raised tail, round head, wide flat bill."""
    toy = Sculpture()
    long, round_, head = 0.6 + 0.14 * p[0], 0.4 + 0.1 * p[1], 0.3 + 0.07 * p[2]
    toy.add(ball(4), "main", (0, 0, round_ * 0.95), (long, round_, round_ * 0.92))
    tail = [
        (-long * 0.7, 0, round_ * 1.0),
        (-long * 1.05, 0, round_ * 1.35),
        (-long * 1.2, 0, round_ * 1.85 + 0.15 * p[3]),
    ]
    toy.add(tube(tail, (0.26, 0.16, 0.03)), "main")
    hx, hz = long * 0.62, round_ * 1.7 + head * 0.85 + 0.2 * p[4]
    toy.limb((long * 0.5, 0, round_), (hx, 0, hz), head * 0.62, "main")
    toy.add(ball(4), "main", (hx, 0, hz), head)
    bill = 0.23 + 0.1 * p[5]
    toy.add(
        ball(3), "accent", (hx + head * 0.8 + bill * 0.55, 0, hz - 0.05), (bill, 0.19, 0.065), turn("y", -6)
    )
    toy.add(
        ball(3),
        "accent",
        (hx + head * 0.75 + bill * 0.4, 0, hz - 0.13),
        (bill * 0.75, 0.15, 0.045),
        turn("y", 8),
    )
    _eyes(toy, hx + head * 0.66, head * 0.58, hz + 0.1, 0.075, "black")
    for side in (-1, 1):
        wing = (-0.08, side * round_ * 0.93, round_ * 1.1)
        toy.add(ball(3), "second", wing, (long * 0.58, 0.1, round_ * (0.44 + 0.16 * p[6])), turn("y", 16))
        toy.add(ball(2), "accent", (0.08, side * 0.18, 0.03), (0.2, 0.13, 0.05))
    if p[7] > 0.5:
        toy.add(
            ring(0.22), "second", (hx - 0.05, 0, hz - head * 0.85), (head * 0.66, head * 0.66, head * 0.66)
        )
    return toy.toy(
        top=(hx - 0.02, 0, hz + head * 0.86),
        brim=0.34,
        neck=(hx - 0.05, 0, hz - head * 0.8),
        neck_radius=head * 0.72,
    )


def robot(p: Shape) -> Toy:
    """Box body with a panel, box or dome head with round eyes and an aerial, tube arms."""
    toy = Sculpture()
    wide, half, legs, head = 0.34 + 0.1 * p[0], 0.3 + 0.09 * p[1], 0.24 + 0.14 * p[2], 0.25 + 0.07 * p[3]
    for side in (-1, 1):
        toy.limb((0, side * wide * 0.52, 0.05), (0, side * wide * 0.52, legs + 0.1), 0.11, "second")
        toy.add(block(0.2, 0.15, 0.08, 0.05), "accent", (0.07, side * wide * 0.54, 0.08))
        shoulder, reach = legs + half * 1.65, 0.16 + 0.12 * p[5]
        arm = [
            (0, side * wide, shoulder),
            (0.05, side * (wide + reach), shoulder - 0.1),
            (0.28, side * (wide + reach), shoulder - 0.35),
        ]
        toy.add(tube(arm, (0.085, 0.085, 0.085)), "second")
        toy.add(ball(2), "accent", (0.3, side * (wide + reach), shoulder - 0.37), 0.13)
    chest = legs + half
    toy.add(block(wide * 0.72, wide, half, 0.06), "main", (0, 0, chest))
    toy.add(block(0.03, wide * 0.6, half * 0.42, 0.02), "second", (wide * 0.72, 0, chest + half * 0.22))
    for k in (-1, 0, 1):
        toy.add(
            ball(2),
            ("red", "yellow", "green")[k + 1],
            (wide * 0.72, k * wide * 0.35, chest - half * 0.58),
            0.055,
        )
    hz = legs + 2 * half + head * 0.85 + 0.07
    toy.limb((0, 0, legs + 2 * half - 0.05), (0, 0, hz), 0.1, "second")
    if p[4] > 0.5:
        toy.add(block(head * 0.9, head * 1.15, head * 0.85, 0.05), "main", (0, 0, hz))
    else:
        dome = [(head * 1.1, -head * 0.8), (head * 1.1, 0.0), (head * 0.85, head * 0.6), (0.0, head * 0.9)]
        toy.add(lathe(dome, smooth=True), "main", (0, 0, hz))
    for side in (-1, 1):
        toy.add(
            rod(),
            "white",
            (head * 0.8, side * head * 0.48, hz + 0.03),
            (0.12, 0.12, head * 0.3),
            turn("y", 90),
        )
        toy.add(ball(2), "black", (head * 1.08, side * head * 0.48, hz + 0.03), (0.05, 0.065, 0.065))
        toy.add(rod(), "accent", (0, side * head * 1.05, hz), (0.08, 0.08, 0.12), turn("x", -side * 90))
    toy.add(block(0.03, head * 0.55, 0.035, 0.01), "black", (head * 1.05, 0, hz - head * 0.48))
    tip = hz + head * 0.85 + 0.16 + 0.12 * p[6]
    toy.limb((0, 0, hz + head * 0.7), (0, 0, tip), 0.03, "gray")
    toy.add(ball(2), "accent", (0, 0, tip), 0.085)
    return toy.toy(top=(0, 0, hz + head * 0.84), brim=0.38, neck=(0, 0, hz - head * 0.8), neck_radius=0.2)


def snowman(p: Shape) -> Toy:
    """Three balls, carrot nose, buttons, stick arms."""
    toy = Sculpture()
    low, mid, head = 0.5 + 0.1 * p[0], 0.36 + 0.07 * p[1], 0.27 + 0.06 * p[2]
    zm = low * 1.7 + mid * 0.65
    zh = zm + mid * 0.75 + head * 0.75
    toy.add(ball(4), "main", (0, 0, low * 0.9), (low, low, low * 0.92))
    toy.add(ball(4), "main", (0, 0, zm), mid)
    toy.add(ball(4), "main", (0, 0, zh), head)
    toy.add(rod(0.0), "orange", (head * 0.85, 0, zh - 0.02), (0.085, 0.085, 0.3 + 0.16 * p[3]), turn("y", 90))
    for side in (-1, 1):
        toy.add(ball(2), "black", (head * 0.86, side * head * 0.4, zh + 0.1), 0.06)
        hand = (0.1, side * (mid + 0.5 + 0.15 * p[4]), zm + 0.25 + 0.25 * p[5])
        toy.limb((0, side * mid * 0.8, zm + 0.05), hand, 0.045, "brown", taper=0.7)
        toy.limb((0.06, side * (mid + 0.3), zm + 0.2), (0.2, side * (mid + 0.42), zm + 0.42), 0.03, "brown")
    buttons = 3 if p[6] > 0.4 else 2
    for k in range(buttons):
        z = zm + mid * (0.5 - 0.42 * k)
        x = (mid**2 - (z - zm) ** 2) ** 0.5
        toy.add(ball(2), "second", (x, 0, z), 0.07)
    toy.add(ring(0.3), "accent", (0, 0, zh - head * 0.8), (head * 0.82, head * 0.82, 0.24))
    return toy.toy(
        top=(0, 0, zh + head * 0.82), brim=0.34, neck=(0, 0, zh - head * 0.72), neck_radius=head * 0.86
    )
