"""The pictures of `bench/editing.py`: held-out, with what each shall become, chosen by rule.

The first four held-out edit pairs of each kind (class, colour, context); the first four to which an accessory is added
(rendered by `bench/added.py`, since the shipped pairs swap one for another: what words are added for); and as style the
first four pairs of the kind "pattern", whose source is to become a watercolour or a pencil drawing in turn. Masks and
true edits are the renderer's (a style's mask is everything: nothing lies outside).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

KINDS = dict(noun="class", colour="colour", context="context", accessory="accessory", pattern="style")
ADDED = Path(__file__).parent / "data" / "added"


@dataclass(frozen=True, eq=False)
class Case:
    """A source picture, what it shall become, and where."""

    kind: str
    source: str
    target: str
    before: Any
    after: Any
    mask: Any
    blend: tuple[str, ...]
    style: tuple[Any, str] | None = None  # another picture in the target's style, and its caption


def cases(count: int) -> list[Case]:
    """The pictures, by the rule above."""
    from motif.pocket.world import held_out

    data = Path(held_out.__file__).parents[1] / "data"
    swaps, added = held_out.read_edits(data), held_out.read_edits(ADDED)
    found, kinds = list[Case](), [*KINDS]
    for number in range(count):
        turn, kind = number // len(kinds), kinds[number % len(kinds)]
        examples = added if kind == "accessory" else [e for e in swaps if e.pair.kind == kind]
        found.append(_styled(examples, turn) if kind == "pattern" else _case(kind, examples[turn]))
    found.sort(key=lambda case: [*KINDS.values()].index(case.kind))
    return found


def _case(kind: str, example: Any) -> Case:
    from PIL import Image

    pair, *pixels = example
    nouns = [scene.instance.noun for scene in (pair.before, pair.after)]
    worn = [scene.view.accessory[0] for scene in (pair.before, pair.after) if scene.view.accessory]
    blend = {"noun": nouns, "colour": nouns, "accessory": worn}.get(kind, [])
    pictures, words = [Image.fromarray(each) for each in pixels], tuple(dict.fromkeys(blend))
    return Case(KINDS[kind], pair.before_caption, pair.after_caption, *pictures, words)


def _styled(examples: Sequence[Any], turn: int) -> Case:
    import numpy as np
    from PIL import Image

    from motif.pocket.world import styles
    from motif.pocket.world.phrases import PREFIXES

    style = ("watercolour", "pencil")[turn % 2]

    def drawn(pixels: Any, seed: int) -> Any:
        found = getattr(styles, style)(pixels / 255, np.random.default_rng(seed))
        return Image.fromarray((found * 255).round().astype(np.uint8))

    pair, before, _, change = examples[turn]
    other, picture, _, _ = examples[turn + 4]
    prefix = ("a photo of", PREFIXES[style][0])
    target, words = (one.before_caption.replace(*prefix) for one in (pair, other))
    mask = Image.fromarray(np.full_like(change, 255))
    pictures = Image.fromarray(before), drawn(before, turn), mask
    return Case("style", pair.before_caption, target, *pictures, (), (drawn(picture, turn + 4), words))


SAID = re.compile(
    r"(?P<opening>.+? of) an? (?P<looks>(?:(?!with )\w+ )*)(?P<noun>\w+)(?P<more> with an? \w+ \w+)?"
    r" in the (?P<place>\w+)"
)
"""How the captions of pocket's edit pairs are made."""


def banks(case: Case, count: int = 100) -> tuple[list[str], list[str]]:
    """Captions of pocket's grammar that differ as the case's two do, and between them in all else: for an edit
    direction. Objects, looks and places that the edit leaves are drawn anew for each."""
    import numpy as np

    from motif.pocket.world.phrases import SWAPPED_PLACES
    from motif.pocket.world.scene import COLOURS, NOUNS, pick

    both = [SAID.fullmatch(caption) for caption in (case.source, case.target)]
    found: tuple[list[str], list[str]] = ([], [])
    for index in range(count):
        rng = np.random.default_rng([7, index])
        others = {
            "noun": pick(rng, NOUNS),
            "looks": f"{pick(rng, COLOURS)} ",
            "place": pick(rng, SWAPPED_PLACES),
        }
        others.pop({"class": "noun", "colour": "looks", "context": "place"}.get(case.kind, ""), None)
        for match, bank in zip(both, found, strict=True):
            assert match, (case.source, case.target)
            said = match.groupdict("") | others
            thing = said["looks"] + said["noun"]
            article = "an" if thing[0] in "aeio" else "a"
            bank.append(f"{said['opening']} {article} {thing}{said['more']} in the {said['place']}")
    return found
