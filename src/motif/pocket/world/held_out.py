"""What training never sees: 16 personal concepts, 200 captioned pictures, 60 edit pairs; all are shipped.

concepts/NAME/refs/00.png, 00-mask.png, 00.txt    6 pictures to learn from: a photo folder for `motif learn`
concepts/NAME/views/...                           6 more, each in another context: the ceiling of likeness
concepts/NAME/concept.json                        noun, true captions, instance, views
pairs.webp, pairs-mask.png, pairs.json            captioned pictures of 200 new instances
edits-before.webp, edits-after.webp,
edits-mask.png, edits.json                        two pictures, two captions, and where they may differ
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from motif.files import written
from motif.pocket.world.edit_pairs import EditPair, edit_pair
from motif.pocket.world.grammar import caption, full_caption
from motif.pocket.world.scene import CONTEXTS, NOUNS, Instance, Scene, View, draw_instance, draw_view
from motif.pocket.world.shards import Bytes, Pictures, save_sheet, untiled

SEED = 2
CONCEPTS = (*NOUNS, "dog-2", "cat-2")
PAIRS, EDITS, SIDE_VIEWS, OTHERS = 200, 60, 6, 12
EDIT_KINDS = ("colour", "context", "accessory", "noun", "pattern")
_CONCEPT, _PAIR, _EDIT, _OTHER = 10, 11, 12, 13  # streams of random numbers, none of them a training stream
SIMPLE_PLACES = {
    "beach": "on the beach", "snow": "in the snow", "meadow": "in the meadow", "floor": "on a wooden floor",
    "street": "on a cobblestone street", "desert": "in the desert", "water": "in the water",
    "wall": "in front of a brick wall",
    "night": "at night", "studio": "in a studio", "forest": "in the forest", "kitchen": "in the kitchen",
}  # fmt: skip


class EditExample(NamedTuple):
    """An edit pair with its two pictures."""

    pair: EditPair
    before: Bytes  # [64, 64, 3]
    after: Bytes  # [64, 64, 3]
    change: Bytes  # [64, 64], where the edit may change the picture


@dataclass(frozen=True, slots=True)
class Concept:
    """One held-out instance with its reference scenes and evaluation scenes (in the six other contexts)."""

    name: str
    instance: Instance
    refs: tuple[View, ...]
    views: tuple[View, ...]


def concept_at(seed: int, number: int) -> Concept:
    """Held-out concept `number` of world `seed`: 6 and 6 plain views, each in another context."""
    name = CONCEPTS[number]
    rng = np.random.default_rng([seed, _CONCEPT, number])
    instance = draw_instance(rng, noun=name.split("-")[0])
    places = [CONTEXTS[int(k)] for k in rng.permutation(len(CONTEXTS))]
    views = [draw_view(rng, context=place, plain=True) for place in places]
    views = [replace(view, fill=round(float(np.clip(view.fill, 0.6, 0.85)), 4)) for view in views]
    return Concept(name, instance, tuple(views[:SIDE_VIEWS]), tuple(views[SIDE_VIEWS : 2 * SIDE_VIEWS]))


def held_out(
    out: str | Path,
    *,
    seed: int = SEED,
    samples: int = 16,
    concepts: int = len(CONCEPTS),
    pairs: int = PAIRS,
    edits: int = EDITS,
    done: Callable[[str], None] = lambda what: None,
) -> None:
    """Renders the held-out sets into `out`; what is complete is kept. `done` gets each part's name."""
    folder = Path(out)
    for number in range(concepts):
        concept = concept_at(seed, number)
        if not (folder / "concepts" / concept.name / "concept.json").exists():
            _write_concept(folder / "concepts" / concept.name, concept, samples)
        if not (folder / "concepts" / concept.name / "others.webp").exists():
            _write_others(folder / "concepts" / concept.name, seed, number, samples)
        done(concept.name)
    if not (folder / "pairs.json").exists():
        _write_pairs(folder, seed, pairs, samples)
    done("pairs")
    if not (folder / "edits.json").exists():
        _write_edits(folder, seed, edits, samples)
    done("edits")


def _write_concept(folder: Path, concept: Concept, samples: int) -> None:
    from motif.pocket.world.render import render

    record: dict[str, Any] = {
        "name": concept.name,
        "noun": concept.instance.noun,
        "instance": concept.instance.to_json(),
    }
    for group, views in (("refs", concept.refs), ("views", concept.views)):
        record[group] = []
        for number, view in enumerate(views):
            scene = Scene(concept.instance, view)
            picture, mask = render(scene, samples=samples)
            stem = folder / group / f"{number:02d}"
            for pixels, name in ((picture, f"{stem}.png"), (mask, f"{stem}-mask.png")):
                with written(name) as draft:
                    Image.fromarray(pixels).save(draft, optimize=True)
            said = f"photo of a {{concept}} {SIMPLE_PLACES[view.context]}"
            with written(f"{stem}.txt") as draft:
                draft.write_text(said + "\n")
            record[group].append(
                {
                    "context": view.context,
                    "caption": said,
                    "true": full_caption(scene),
                    "view": view.to_json(),
                }
            )
    _write_json(folder / "concept.json", record)


def _write_others(folder: Path, seed: int, number: int, samples: int) -> None:
    """Other instances of the class, each once, in the places of the concept's own evaluation views."""
    from motif.pocket.world.render import render

    concept, pictures = concept_at(seed, number), list[Bytes]()
    for other in range(OTHERS):
        rng = np.random.default_rng([seed, _OTHER, number, other])
        view = draw_view(rng, context=concept.views[other % SIDE_VIEWS].context, plain=True)
        view = replace(view, fill=round(float(np.clip(view.fill, 0.6, 0.85)), 4))
        pictures.append(
            render(Scene(draw_instance(rng, noun=concept.instance.noun), view), samples=samples)[0]
        )
    save_sheet(pictures, folder / "others.webp")


def _write_pairs(folder: Path, seed: int, count: int, samples: int) -> None:
    from motif.pocket.world.render import render

    pictures: list[Bytes] = []
    masks: list[Bytes] = []
    entries: list[dict[str, Any]] = []
    for number in range(count):
        rng = np.random.default_rng([seed, _PAIR, number])
        scene = Scene(draw_instance(rng), draw_view(rng))
        picture, mask = render(scene, samples=samples)
        pictures.append(picture)
        masks.append(mask)
        said = {"caption": caption(scene, rng), "full": full_caption(scene)}
        entries.append({"id": f"{seed}-pair-{number:04d}", **said, **scene.to_json()})
    save_sheet(pictures, folder / "pairs.webp")
    save_sheet(masks, folder / "pairs-mask.png")
    _write_json(folder / "pairs.json", entries)


def _write_edits(folder: Path, seed: int, count: int, samples: int) -> None:
    from motif.pocket.world.pairs import render_pair

    columns: tuple[list[Bytes], list[Bytes], list[Bytes]] = ([], [], [])
    entries: list[dict[str, Any]] = []
    for number in range(count):
        pair = edit_pair(
            np.random.default_rng([seed, _EDIT, number]), kind=EDIT_KINDS[number % len(EDIT_KINDS)]
        )
        drawn = render_pair(pair, samples=samples)
        for column, pixels in zip(columns, (drawn.before, drawn.after, drawn.change), strict=True):
            column.append(pixels)
        scenes = {"before": pair.before.to_json(), "after": pair.after.to_json()}
        entries.append(
            {
                "kind": pair.kind,
                "before_caption": pair.before_caption,
                "after_caption": pair.after_caption,
                **scenes,
            }
        )
    for column, name in zip(
        columns, ("edits-before.webp", "edits-after.webp", "edits-mask.png"), strict=True
    ):
        save_sheet(column, folder / name)
    _write_json(folder / "edits.json", entries)


def _write_json(path: Path, data: Any) -> None:
    with written(path) as draft:
        draft.write_text(json.dumps(data, separators=(",", ":")) + "\n")


def read_pairs(folder: str | Path) -> tuple[Pictures, list[str], list[str]]:
    """The captioned pictures: pictures, a caption each (some name only the class), and the full captions."""
    place = Path(folder)
    entries = json.loads((place / "pairs.json").read_text())
    pictures = Pictures(
        _tiles(place / "pairs.webp", len(entries)),
        _tiles(place / "pairs-mask.png", len(entries)),
        [Scene.from_json(entry) for entry in entries],
        [entry["id"] for entry in entries],
    )
    return pictures, [entry["caption"] for entry in entries], [entry["full"] for entry in entries]


def read_edits(folder: str | Path) -> list[EditExample]:
    """The edit pairs of a folder that `held_out` wrote."""
    place = Path(folder)
    entries = json.loads((place / "edits.json").read_text())
    before, after, change = (
        _tiles(place / name, len(entries))
        for name in ("edits-before.webp", "edits-after.webp", "edits-mask.png")
    )
    pairs = [
        EditPair(
            entry["kind"], Scene.from_json(entry["before"]), Scene.from_json(entry["after"]),
            entry["before_caption"], entry["after_caption"],
        )
        for entry in entries
    ]  # fmt: skip
    return [EditExample(*parts) for parts in zip(pairs, before, after, change, strict=True)]


def _tiles(path: Path, count: int) -> Bytes:
    with Image.open(path) as sheet:
        return untiled(np.asarray(sheet.convert("L" if path.suffix == ".png" else "RGB")), count)
