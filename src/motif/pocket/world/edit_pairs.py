"""Pairs of scenes that differ in one word: the two captions, and nothing else apart."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from motif.pocket.world.grammar import accessory_phrase, joined, with_article
from motif.pocket.world.phrases import SWAPPED_PLACES
from motif.pocket.world.scene import (
    COLOURS,
    NOUNS,
    PATTERNS,
    WEARERS,
    Scene,
    contrasting,
    draw_instance,
    draw_view,
    mix_paint,
    pick,
)

_STEADY = tuple(colour for colour in COLOURS if colour[0] not in "aeio")
"""Colours that take the article "a", so that a swap changes no other word."""


@dataclass(frozen=True, slots=True)
class EditPair:
    """Two scenes whose captions differ in one word, and that differ in nothing else."""

    kind: str
    """colour, context, accessory, noun or pattern."""
    before: Scene
    after: Scene
    before_caption: str
    after_caption: str


def edit_pair(rng: np.random.Generator, *, kind: str | None = None) -> EditPair:
    """Two scenes that differ in one word of their captions; camera, light and seed are shared.

    Draw them with `motif.pocket.world.pairs.render_pair`, which also shares the framing.
    """
    makers = {
        "colour": _recoloured,
        "context": _moved,
        "accessory": _redressed,
        "noun": _renamed,
        "pattern": _repatterned,
    }
    kind = pick(rng, tuple(makers)) if kind is None else kind
    main = mix_paint(rng, pick(rng, _STEADY))
    second = mix_paint(rng, pick(rng, contrasting(main.name)))
    contrast = mix_paint(rng, pick(rng, contrasting(main.name), other_than=(second.name,)))
    instance = replace(draw_instance(rng), main=main, second=second, contrast=contrast)
    view = draw_view(rng, plain=True)
    view = replace(view, context=pick(rng, SWAPPED_PLACES), fill=float(np.clip(view.fill, 0.55, 0.85)))
    return makers[kind](Scene(instance, view), rng)


def _said(scene: Scene) -> str:
    instance, place = scene.instance, scene.view.context
    pattern = "" if instance.pattern == "plain" else instance.pattern
    thing = with_article(None, joined(pattern, instance.main.name, instance.noun))
    return joined("a photo of", thing, accessory_phrase(scene, "with", "with"), f"in the {place}")


def _pair(kind: str, before: Scene, after: Scene) -> EditPair:
    return EditPair(kind, before, after, _said(before), _said(after))


def _recoloured(scene: Scene, rng: np.random.Generator) -> EditPair:
    instance = scene.instance
    taken = (instance.main.name, instance.second.name, instance.contrast.name)
    main = mix_paint(rng, pick(rng, _kept(contrasting(instance.main.name), _STEADY), other_than=taken))
    return _pair("colour", scene, replace(scene, instance=replace(instance, main=main)))


def _kept(words: tuple[str, ...], allowed: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(word for word in words if word in allowed)


def _moved(scene: Scene, rng: np.random.Generator) -> EditPair:
    other = pick(rng, SWAPPED_PLACES, other_than=(scene.view.context,))
    return _pair("context", scene, replace(scene, view=replace(scene.view, context=other)))


def _redressed(scene: Scene, rng: np.random.Generator) -> EditPair:
    """Another colour of the hat, or a box for a ball, or a scarf for a hat."""
    colour = pick(rng, _STEADY)
    swaps: list[tuple[tuple[str, str], tuple[str, str]]] = [
        (("hat", colour), ("hat", pick(rng, _kept(contrasting(colour), _STEADY)))),
        (("ball", colour), ("box", colour)),
    ]
    if scene.instance.noun in WEARERS:
        swaps.append((("hat", colour), ("scarf", colour)))
    swap = swaps[int(rng.integers(len(swaps)))]
    first, second = swap if rng.random() < 0.5 else swap[::-1]
    return _pair(
        "accessory",
        replace(scene, view=replace(scene.view, accessory=first)),
        replace(scene, view=replace(scene.view, accessory=second)),
    )


def _renamed(scene: Scene, rng: np.random.Generator) -> EditPair:
    other = pick(rng, NOUNS, other_than=(scene.instance.noun,))
    return _pair("noun", scene, replace(scene, instance=replace(scene.instance, noun=other)))


def _repatterned(scene: Scene, rng: np.random.Generator) -> EditPair:
    first = pick(rng, PATTERNS[1:])
    second = pick(rng, PATTERNS[1:], other_than=(first,))
    return _pair(
        "pattern",
        replace(scene, instance=replace(scene.instance, pattern=first)),
        replace(scene, instance=replace(scene.instance, pattern=second)),
    )
