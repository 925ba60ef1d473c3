"""Held-out objects of pocket's world: photos of one thing that the base has never seen, shipped with the package.

Each has six photos to learn from, six unseen views of it in other places (what a perfect likeness reaches:
the ceiling), and twelve pictures of other objects of its class (what the class word alone reaches: the floor).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image


@dataclass(frozen=True)
class HeldOut:
    """One object."""

    name: str
    noun: str
    home: Path
    places: tuple[str, ...]
    """Where none of its photos were taken, as a prompt says it: "on the beach", ... Its unseen views were."""

    @property
    def folder(self) -> Path:
        """The photos to learn from, a folder for `motif learn`."""
        return self.home / "refs"

    @property
    def references(self) -> tuple[Path, ...]:
        return _pictures(self.home / "refs")

    @property
    def views(self) -> tuple[Path, ...]:
        """The same object, unseen, in other places."""
        return _pictures(self.home / "views")

    @property
    def others(self) -> tuple[Image, ...]:
        """Other objects of the class."""
        import numpy as np
        from PIL import Image

        from motif.pocket.world.held_out import OTHERS
        from motif.pocket.world.shards import untiled

        with Image.open(self.home / "others.webp") as sheet:
            tiles = untiled(np.asarray(sheet.convert("RGB")), OTHERS)
        return tuple(Image.fromarray(tile) for tile in tiles)


@cache
def held_out() -> tuple[HeldOut, ...]:
    """Every held-out object, by name; `bench/identity.py` measures the first four."""
    home = Path(str(resources.files("motif.pocket") / "data" / "concepts"))
    found: list[HeldOut] = []
    for folder in sorted(path.parent for path in home.glob("*/concept.json")):
        record = json.loads((folder / "concept.json").read_text())
        places = tuple(view["caption"].partition("{concept} ")[2] for view in record["views"])
        found.append(HeldOut(record["name"], record["noun"], folder, places))
    return tuple(found)


def _pictures(folder: Path) -> tuple[Path, ...]:
    return tuple(path for path in sorted(folder.glob("*.png")) if not path.stem.endswith("-mask"))
