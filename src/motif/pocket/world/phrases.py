"""The phrases that captions are put together from."""

from __future__ import annotations

PREFIXES: dict[str, tuple[str, ...]] = {
    "photo": (
        "a photo of", "a photo of", "a photo of", "photo of", "photo of", "a picture of", "an image of",
        "a rendering of", "",
    ),
    "pencil": (
        "a pencil drawing of", "a pencil drawing of", "a pencil sketch of", "a drawing of",
        "pencil drawing of",
    ),
    "watercolour": (
        "a watercolour painting of", "a watercolor painting of", "a watercolour of", "a painting of",
        "watercolour painting of",
    ),
}  # fmt: skip
"""Openings; the likelier ones are listed more than once, the first is the canonical one."""
LARGE = ("zoomed in", "close up", "a close up", "a zoomed in")
SMALL = ("far away", "very small", "a far away", "a very small")
CLOSE_FILL, FAR_FILL = 0.86, 0.45
"""Above or below these a picture may be called close up, or far away."""

PLACES: dict[str, tuple[str, ...]] = {
    "beach": ("on the beach", "on the beach", "at the beach", "on a sandy beach", "on the sand"),
    "snow": ("in the snow", "in the snow", "on the snow", "in a snowy forest", "in winter"),
    "meadow": ("in a meadow", "in the meadow", "on the grass", "in a green field", "in the grass"),
    "floor": (
        "on a wooden floor", "on a wooden floor", "on the wooden floor", "indoors on a wooden floor",
        "on the floor",
    ),
    "street": ("on a cobblestone street", "on the street", "in the street", "in the city"),
    "desert": ("in the desert", "in the desert", "in a desert", "on a desert dune"),
    "water": ("in the water", "in the water", "floating on water", "in the sea", "on the water"),
    "wall": (
        "in front of a brick wall", "in front of a brick wall", "against a brick wall",
        "with a brick wall behind",
    ),
    "night": ("at night", "at night", "in the night", "at night under the stars", "under the moon"),
    "studio": ("in a studio", "in the studio", "on a plain background", "with a gray background"),
    "forest": ("in the forest", "in a forest", "in the woods"),
    "kitchen": ("in the kitchen", "in a kitchen", "on a tiled floor"),
}  # fmt: skip
PARTS = {
    "dog": "ears", "cat": "paws", "duck": "wings", "car": "a roof", "teapot": "a handle", "mug": "a handle",
    "chair": "legs", "robot": "arms", "snowman": "buttons", "house": "a roof", "boat": "a sail",
    "rocket": "fins", "mushroom": "a stem", "cactus": "a pot",
}  # fmt: skip
"""The part that has the instance's second colour."""
WORN = ("wearing", "wearing", "with")
BESIDE = ("with", "next to", "next to", "and", "beside")
SWAPPED_PLACES = ("snow", "meadow", "street", "desert", "water", "night", "studio", "forest", "kitchen")
"""Contexts that can be said as "in the ...", so that an edit changes one word."""
