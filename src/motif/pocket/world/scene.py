"""What is in a picture of pocket's world: an object (`Instance`) and how it is seen (`View`).

An `Instance` is one personal object: a noun, named part colours (jittered: the name does not say them
exactly), a pattern, six to eight continuous shape parameters. A `View` is everything that may change between
two pictures of it. Both are plain values: they compare, and go to JSON and back without loss.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

NOUNS = (
    "dog", "cat", "duck", "car", "teapot", "mug", "chair", "robot", "snowman", "house",
    "boat", "rocket", "mushroom", "cactus",
)  # fmt: skip
CONTEXTS = (
    "beach", "snow", "meadow", "floor", "street", "desert", "water", "wall", "night", "studio",
    "forest", "kitchen",
)  # fmt: skip
PATTERNS = ("plain", "striped", "spotted", "checked")
ACCESSORIES = ("hat", "ball", "box", "scarf")
STYLES = ("photo", "pencil", "watercolour")
WEARERS = ("dog", "cat", "duck", "robot", "snowman")  # nouns with a neck for a scarf

PALETTE: dict[str, tuple[float, float, float]] = {
    "red": (0.74, 0.04, 0.04),
    "orange": (0.92, 0.33, 0.03),
    "yellow": (0.93, 0.74, 0.05),
    "green": (0.07, 0.45, 0.09),
    "blue": (0.05, 0.15, 0.74),
    "purple": (0.34, 0.06, 0.52),
    "pink": (0.93, 0.36, 0.54),
    "brown": (0.28, 0.13, 0.05),
    "white": (0.87, 0.86, 0.83),
    "black": (0.025, 0.025, 0.03),
    "gray": (0.30, 0.30, 0.31),
    "teal": (0.03, 0.47, 0.47),
}
"""Linear RGB reflectance of each colour word."""
COLOURS = tuple(PALETTE)

TYPICAL = {"duck": "yellow", "snowman": "white", "cactus": "green", "mushroom": "red"}
BILLS = ("orange", "yellow", "red", "pink", "black")
EYES = ("green", "yellow", "blue", "black")
SHAPE_SIZE = 8

Colour = tuple[float, float, float]
"""Linear RGB reflectance, each in 0..1."""


@dataclass(frozen=True, slots=True)
class Paint:
    """A named colour and the exact (jittered, linear RGB) value that this instance has."""

    name: str
    rgb: Colour


@dataclass(frozen=True, slots=True)
class Instance:
    """One personal object: all that stays the same between two pictures of it."""

    noun: str
    main: Paint
    second: Paint
    accent: Paint
    contrast: Paint
    """Colour of the pattern on the main colour (unused when the pattern is plain)."""
    eye: str
    pattern: str
    pattern_scale: float
    """Period of stripes, checks and spots, as a share of the object's height."""
    pattern_tilt: float
    """Direction of stripes: degrees from upright bands (0) to rings (90)."""
    pattern_seed: int
    shiny: bool
    shape: tuple[float, ...]
    """Eight numbers in 0..1: the proportions of the noun's parts; most nouns use six or seven of them."""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Instance:
        paints: dict[str, Any] = {
            part: _paint(data[part]) for part in ("main", "second", "accent", "contrast")
        }
        fixed: dict[str, Any] = {**paints, "shape": tuple(data["shape"])}
        return cls(**{**data, **fixed})


@dataclass(frozen=True, slots=True)
class View:
    """One way to see an instance: place, company, style, camera and light."""

    context: str
    accessory: tuple[str, str] | None
    """(kind, colour word), as ("hat", "red")."""
    companion: Instance | None
    """A second object that stands beside."""
    style: str
    yaw: float
    """Degrees turned away from the noun's most telling side."""
    side: int
    """-1 or 1: which way the object faces; the accessory goes to the other side."""
    pitch: float
    """Degrees that the camera looks down."""
    fill: float
    """Larger side of the object's box over the picture's side."""
    shift: tuple[float, float]
    """Place in the room that is left, each -1..1 (right, up)."""
    light: tuple[float, float, float]
    """Sun: azimuth and elevation in degrees, strength relative to 1."""
    seed: int
    """Seeds ground, backdrop, paper and sampling noise."""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> View:
        companion = data["companion"]
        accessory = data["accessory"]
        fixed: dict[str, Any] = {
            "accessory": None if accessory is None else (accessory[0], accessory[1]),
            "companion": None if companion is None else Instance.from_json(companion),
            "shift": tuple(data["shift"]),
            "light": tuple(data["light"]),
        }
        return cls(**{**data, **fixed})


@dataclass(frozen=True, slots=True)
class Scene:
    """One picture: an object, seen in one way."""

    instance: Instance
    view: View

    def to_json(self) -> dict[str, Any]:
        return {"instance": self.instance.to_json(), "view": self.view.to_json()}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Scene:
        return cls(Instance.from_json(data["instance"]), View.from_json(data["view"]))


def _paint(data: dict[str, Any]) -> Paint:
    red, green, blue = data["rgb"]
    return Paint(data["name"], (red, green, blue))


def pick(rng: np.random.Generator, words: tuple[str, ...], *, other_than: tuple[str, ...] = ()) -> str:
    """One word of `words`, evenly, that is none of `other_than`."""
    left = [word for word in words if word not in other_than]
    return left[int(rng.integers(len(left)))]


def mix_paint(rng: np.random.Generator, name: str) -> Paint:
    """The named colour with a jitter of about 10 % in brightness and 6 % per channel."""
    jittered = np.array(PALETTE[name]) * rng.uniform(0.88, 1.12) * rng.uniform(0.94, 1.06, 3)
    red, green, blue = (round(float(value), 4) for value in np.clip(jittered, 0.01, 0.93))
    return Paint(name, (red, green, blue))


def contrasting(name: str) -> tuple[str, ...]:
    """Colour words that a pattern on `name` can be seen in: far away in perceived (square-root) colour."""
    here = np.sqrt(np.array(PALETTE[name]))
    return tuple(other for other in COLOURS if np.linalg.norm(np.sqrt(np.array(PALETTE[other])) - here) > 0.5)


def draw_instance(rng: np.random.Generator, *, noun: str | None = None) -> Instance:
    """A new object; `noun` fixes its class."""
    noun = pick(rng, NOUNS) if noun is None else noun
    main = TYPICAL[noun] if noun in TYPICAL and rng.random() < 0.2 else pick(rng, COLOURS)
    second = pick(rng, contrasting(main))
    accents = BILLS if noun == "duck" else COLOURS
    accent = pick(rng, accents, other_than=(main, second))
    contrast = pick(rng, contrasting(main), other_than=(second,))
    pattern = "plain" if rng.random() < 0.5 else pick(rng, PATTERNS[1:])
    return Instance(
        noun=noun,
        main=mix_paint(rng, main),
        second=mix_paint(rng, second),
        accent=mix_paint(rng, accent),
        contrast=mix_paint(rng, contrast),
        eye=pick(rng, EYES),
        pattern=pattern,
        pattern_scale=round(float(rng.uniform(0.17, 0.28)), 4),
        pattern_tilt=round(float(pick_tilt(rng)), 2),
        pattern_seed=int(rng.integers(2**31)),
        shiny=bool(rng.random() < 0.2),
        shape=tuple(round(float(value), 4) for value in rng.random(SHAPE_SIZE)),
    )


def pick_tilt(rng: np.random.Generator) -> float:
    """Upright bands, rings or slanted, each within 12 degrees."""
    return float(rng.choice([0.0, 90.0, 90.0, 45.0]) + rng.uniform(-12, 12))


def draw_view(
    rng: np.random.Generator, *, context: str | None = None, style: str | None = None, plain: bool = False
) -> View:
    """A new way to see an object. `plain` leaves out accessory, companion and drawing styles."""
    if style is None:
        style = "photo" if plain or rng.random() < 0.85 else pick(rng, STYLES[1:])
    chance = 1.0 if plain else rng.random()
    accessory = (_draw_accessory(rng), pick(rng, COLOURS)) if chance < 0.36 else None
    companion = draw_instance(rng) if 0.36 <= chance < 0.41 else None
    return View(
        context=pick(rng, CONTEXTS) if context is None else context,
        accessory=accessory,
        companion=companion,
        style=style,
        yaw=round(float(np.clip(rng.normal(0, 24), -60, 60)), 2),
        side=1 if rng.random() < 0.5 else -1,
        pitch=round(float(rng.uniform(8, 24)), 2),
        fill=round(_draw_fill(rng), 4),
        shift=(round(float(rng.uniform(-0.8, 0.8)), 4), round(float(rng.uniform(-0.7, 0.3)), 4)),
        light=_draw_light(rng),
        seed=int(rng.integers(2**31)),
    )


def _draw_accessory(rng: np.random.Generator) -> str:
    return str(rng.choice(ACCESSORIES, p=[0.42, 0.28, 0.18, 0.12]))


def _draw_fill(rng: np.random.Generator) -> float:
    chance = rng.random()
    if chance < 0.06:
        return float(rng.uniform(0.30, 0.42))  # far away
    if chance < 0.16:
        return float(rng.uniform(0.88, 0.95))  # close up
    return float(rng.uniform(0.58, 0.82))


def _draw_light(rng: np.random.Generator) -> tuple[float, float, float]:
    azimuth = float(rng.choice([-1, 1]) * rng.uniform(15, 70))
    return round(azimuth, 2), round(float(rng.uniform(35, 62)), 2), round(float(rng.uniform(0.8, 1.15)), 3)
