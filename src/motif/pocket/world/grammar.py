"""What can be said about a scene: captions, labels, and pairs of scenes that differ in one word.

Captions are lower-case words and spaces, nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from motif.pocket.world.phrases import (
    BESIDE,
    CLOSE_FILL,
    FAR_FILL,
    LARGE,
    PARTS,
    PLACES,
    PREFIXES,
    SMALL,
    SWAPPED_PLACES,
    WORN,
)
from motif.pocket.world.scene import (
    ACCESSORIES,
    COLOURS,
    NOUNS,
    PATTERNS,
    WEARERS,
    Instance,
    Scene,
    View,
    contrasting,
    draw_instance,
    draw_view,
    mix_paint,
    pick,
)  # fmt: skip
from motif.pocket.world.words import PLAIN_WORDS, RARE_TOKENS

__all__ = [
    "PLAIN_WORDS", "RARE_TOKENS", "EditPair", "all_words", "caption", "class_caption", "edit_pair",
    "full_caption", "labels",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class EditPair:
    """Two scenes whose captions differ in one word, and that differ in nothing else."""

    kind: str
    """colour, context, accessory, noun or pattern."""
    before: Scene
    after: Scene
    before_caption: str
    after_caption: str


def _chosen(rng: np.random.Generator, phrases: tuple[str, ...]) -> str:
    return phrases[int(rng.integers(len(phrases)))]


def _with_article(rng: np.random.Generator | None, words: str) -> str:
    if rng is not None and rng.random() < 0.07:
        return f"the {words}"
    return f"{'an' if words[0] in 'aeio' else 'a'} {words}"


def _joined(*parts: str) -> str:
    return " ".join(part for part in parts if part)


def described(instance: Instance) -> str:
    """What words can say of an object, its noun last: "red and white striped cat"."""
    pattern = [] if instance.pattern == "plain" else ["and", instance.contrast.name, instance.pattern]
    return " ".join(["shiny"] * instance.shiny + [instance.main.name, *pattern, instance.noun])


def class_caption(noun: str) -> str:
    """The caption that names nothing but the class."""
    return f"a photo of {_with_article(None, noun)}"


def full_caption(scene: Scene) -> str:
    """The canonical caption: everything that words can say, each in its first phrasing."""
    instance, view = scene.instance, scene.view
    looks = _joined(
        "shiny" if instance.shiny else "",
        instance.main.name,
        "" if instance.pattern == "plain" else f"and {instance.contrast.name} {instance.pattern}",
    )
    thing = _with_article(None, _joined(looks, instance.noun))
    return _joined(
        PREFIXES[view.style][0], thing, _part(instance), _accessory(scene, "wearing", "next to"),
        _companion(view, "next to"), PLACES[view.context][0],
    )  # fmt: skip


def _part(instance: Instance) -> str:
    part = PARTS[instance.noun]
    colour = instance.second.name
    return (
        f"with {_with_article(None, f'{colour} {part[2:]}')}"
        if part.startswith("a ")
        else f"with {colour} {part}"
    )


def _accessory(scene: Scene, worn: str, beside: str) -> str:
    if scene.view.accessory is None:
        return ""
    kind, colour = shown_accessory(scene), scene.view.accessory[1]
    return f"{worn if kind in ('hat', 'scarf') else beside} {_with_article(None, f'{colour} {kind}')}"


def shown_accessory(scene: Scene) -> str:
    """Kind of the accessory that is drawn, or "none": what has no neck wears a hat for a scarf."""
    if scene.view.accessory is None:
        return "none"
    kind = scene.view.accessory[0]
    return "hat" if kind == "scarf" and scene.instance.noun not in WEARERS else kind


def _companion(view: View, beside: str) -> str:
    other = view.companion
    return "" if other is None else f"{beside} {_with_article(None, f'{other.main.name} {other.noun}')}"


def caption(scene: Scene, rng: np.random.Generator, *, rare: float = 0.0) -> str:
    """One of many true captions. `rare` is the probability of a meaningless rare token before the noun.

    About 10 % name only the class; else attributes, accessory and context are each left out at random.
    """
    instance, view = scene.instance, scene.view
    class_only = rng.random() < 0.1
    looks = "" if class_only else _looks(instance, rng)
    token = _chosen(rng, RARE_TOKENS) if rng.random() < rare else ""
    thing = _with_article(rng, _joined(looks, token, instance.noun))
    prefix = _prefix(scene, rng)
    if class_only:
        return _joined(prefix, thing)
    part = _part(instance) if rng.random() < 0.08 else ""
    company = ""
    if rng.random() < 0.9:
        beside = _chosen(rng, BESIDE)
        company = _accessory(scene, _chosen(rng, WORN), beside) or _companion(view, beside)
    place = _chosen(rng, PLACES[view.context]) if rng.random() < 0.85 else ""
    if company and rng.random() < 0.2 and not company.startswith("and "):
        return _joined(prefix, thing, part, place, company)
    return _joined(prefix, thing, part, company, place)


def _looks(instance: Instance, rng: np.random.Generator) -> str:
    colour = instance.main.name if rng.random() < 0.65 else ""
    patterned = instance.pattern != "plain" and rng.random() < 0.65
    pattern = instance.pattern if patterned else ""
    if patterned and colour and rng.random() < 0.3:
        colour = f"{colour} and {instance.contrast.name}"
    words = [colour, pattern] if rng.random() < 0.75 or "and" in colour else [pattern, colour]
    shiny = "shiny" if instance.shiny and rng.random() < 0.4 else ""
    return _joined(shiny, *words)


def apparent_size(view: View) -> str:
    """large, small or "" for how much of the picture the object fills."""
    alone = view.companion is None and (view.accessory is None or view.accessory[0] in ("hat", "scarf"))
    if view.fill > CLOSE_FILL and alone:
        return "large"
    return "small" if view.fill < FAR_FILL else ""


def _prefix(scene: Scene, rng: np.random.Generator) -> str:
    view = scene.view
    prefix = _chosen(rng, PREFIXES[view.style])
    size = apparent_size(view)
    if size and prefix and rng.random() < 0.5:
        words = _chosen(rng, LARGE if size == "large" else SMALL)
        bare = prefix.removeprefix("an ").removeprefix("a ")
        return _joined(words, bare if words.startswith("a ") or rng.random() < 0.6 else prefix)
    dim = "dark" if view.context == "night" else "bright"
    if prefix == "a photo of" and rng.random() < 0.06:
        return f"a {dim} photo of"
    return prefix


def labels(scene: Scene) -> dict[str, str]:
    """The scene's true classes; `accessory` is what is drawn (or "none")."""
    instance, view = scene.instance, scene.view
    return {
        "noun": instance.noun,
        "context": view.context,
        "colour": instance.main.name,
        "pattern": instance.pattern,
        "accessory": shown_accessory(scene),
        "accessory_colour": "none" if view.accessory is None else view.accessory[1],
        "style": view.style,
    }


def all_words() -> list[str]:
    """Every word that the grammar can say, then PLAIN_WORDS and RARE_TOKENS; each once."""
    phrases: list[str] = [
        *NOUNS,
        *COLOURS,
        *PATTERNS[1:],
        *ACCESSORIES,
        *LARGE,
        *SMALL,
        *PARTS.values(),
        *WORN,
        *BESIDE,
    ]
    for table in (PREFIXES, PLACES):
        for group in table.values():
            phrases += group
    phrases += ["a an the and with shiny bright dark photo"]
    return list(dict.fromkeys([*" ".join(phrases).split(), *PLAIN_WORDS, *RARE_TOKENS]))


_STEADY = tuple(colour for colour in COLOURS if colour[0] not in "aeio")
"""Colours that take the article "a", so that a swap changes no other word."""


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
    thing = _with_article(None, _joined(pattern, instance.main.name, instance.noun))
    return _joined("a photo of", thing, _accessory(scene, "with", "with"), f"in the {place}")


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
