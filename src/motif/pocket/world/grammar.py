"""What can be said about a scene: captions and labels.

Captions are lower-case words and spaces, nothing else.
"""

from __future__ import annotations

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
)  # fmt: skip
from motif.pocket.world.words import PLAIN_WORDS, RARE_TOKENS

__all__ = [
    "PLAIN_WORDS", "RARE_TOKENS", "all_words", "caption", "class_caption", "full_caption", "labels",
]  # fmt: skip


def _chosen(rng: np.random.Generator, phrases: tuple[str, ...]) -> str:
    return phrases[int(rng.integers(len(phrases)))]


def with_article(rng: np.random.Generator | None, words: str) -> str:
    """The words after "a" or "an", or with a generator now and then after "the"."""
    if rng is not None and rng.random() < 0.07:
        return f"the {words}"
    return f"{'an' if words[0] in 'aeio' else 'a'} {words}"


def joined(*parts: str) -> str:
    """The parts that say something, with spaces between."""
    return " ".join(part for part in parts if part)


def described(instance: Instance) -> str:
    """What words can say of an object, its noun last: "red and white striped cat"."""
    pattern = [] if instance.pattern == "plain" else ["and", instance.contrast.name, instance.pattern]
    return " ".join(["shiny"] * instance.shiny + [instance.main.name, *pattern, instance.noun])


def class_caption(noun: str) -> str:
    """The caption that names nothing but the class."""
    return f"a photo of {with_article(None, noun)}"


def full_caption(scene: Scene) -> str:
    """The canonical caption: everything that words can say, each in its first phrasing."""
    instance, view = scene.instance, scene.view
    looks = joined(
        "shiny" if instance.shiny else "",
        instance.main.name,
        "" if instance.pattern == "plain" else f"and {instance.contrast.name} {instance.pattern}",
    )
    thing = with_article(None, joined(looks, instance.noun))
    return joined(
        PREFIXES[view.style][0], thing, _part(instance), accessory_phrase(scene, "wearing", "next to"),
        _companion(view, "next to"), PLACES[view.context][0],
    )  # fmt: skip


def _part(instance: Instance) -> str:
    part = PARTS[instance.noun]
    colour = instance.second.name
    return (
        f"with {with_article(None, f'{colour} {part[2:]}')}"
        if part.startswith("a ")
        else f"with {colour} {part}"
    )


def accessory_phrase(scene: Scene, worn: str, beside: str) -> str:
    """What is said of the accessory ("wearing a red hat", "next to a blue ball"), or nothing."""
    if scene.view.accessory is None:
        return ""
    kind, colour = shown_accessory(scene), scene.view.accessory[1]
    return f"{worn if kind in ('hat', 'scarf') else beside} {with_article(None, f'{colour} {kind}')}"


def shown_accessory(scene: Scene) -> str:
    """Kind of the accessory that is drawn, or "none": what has no neck wears a hat for a scarf."""
    if scene.view.accessory is None:
        return "none"
    kind = scene.view.accessory[0]
    return "hat" if kind == "scarf" and scene.instance.noun not in WEARERS else kind


def _companion(view: View, beside: str) -> str:
    other = view.companion
    return "" if other is None else f"{beside} {with_article(None, f'{other.main.name} {other.noun}')}"


def caption(scene: Scene, rng: np.random.Generator, *, rare: float = 0.0) -> str:
    """One of many true captions. `rare` is the probability of a meaningless rare token before the noun.

    About 10 % name only the class; else attributes, accessory and context are each left out at random.
    """
    instance, view = scene.instance, scene.view
    class_only = rng.random() < 0.1
    looks = "" if class_only else _looks(instance, rng)
    token = _chosen(rng, RARE_TOKENS) if rng.random() < rare else ""
    thing = with_article(rng, joined(looks, token, instance.noun))
    prefix = _prefix(scene, rng)
    if class_only:
        return joined(prefix, thing)
    part = _part(instance) if rng.random() < 0.08 else ""
    company = ""
    if rng.random() < 0.9:
        beside = _chosen(rng, BESIDE)
        company = accessory_phrase(scene, _chosen(rng, WORN), beside) or _companion(view, beside)
    place = _chosen(rng, PLACES[view.context]) if rng.random() < 0.85 else ""
    if company and rng.random() < 0.2 and not company.startswith("and "):
        return joined(prefix, thing, part, place, company)
    return joined(prefix, thing, part, company, place)


def _looks(instance: Instance, rng: np.random.Generator) -> str:
    colour = instance.main.name if rng.random() < 0.65 else ""
    patterned = instance.pattern != "plain" and rng.random() < 0.65
    pattern = instance.pattern if patterned else ""
    if patterned and colour and rng.random() < 0.3:
        colour = f"{colour} and {instance.contrast.name}"
    words = [colour, pattern] if rng.random() < 0.75 or "and" in colour else [pattern, colour]
    shiny = "shiny" if instance.shiny and rng.random() < 0.4 else ""
    return joined(shiny, *words)


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
        return joined(words, bare if words.startswith("a ") or rng.random() < 0.6 else prefix)
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
