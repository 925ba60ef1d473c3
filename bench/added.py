"""Held-out pictures to which an accessory is added: `python bench/added.py` renders them once, into bench/data/added.

The shipped accessory pairs swap one accessory for another. Here the first picture of each is without any, under the
same camera and light, and its caption says so: what a refinement adds words for. In the form of pocket's edit pairs
(`motif.pocket.world.held_out.read_edits` reads it). Needs the renderer (`pip install motif[pocket]`): 12 pairs.
"""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "data" / "added"


def main() -> None:
    """Render and write."""
    from motif.files import written
    from motif.pocket.world import held_out
    from motif.pocket.world.pairs import render_pair
    from motif.pocket.world.shards import save_sheet

    shipped = held_out.read_edits(Path(held_out.__file__).parents[1] / "data")
    pictures: dict[str, list[Any]] = {"before": [], "after": [], "mask": []}
    entries: list[dict[str, Any]] = []
    for pair in (example.pair for example in shipped if example.pair.kind == "accessory"):
        bare = replace(pair.after, view=replace(pair.after.view, accessory=None))
        said = re.sub(r" with an? \w+ \w+(?= in the )", "", pair.after_caption)
        pair = replace(pair, before=bare, before_caption=said)
        drawn = render_pair(pair)
        for name, pixels in zip(pictures, (drawn.before, drawn.after, drawn.change), strict=True):
            pictures[name].append(pixels)
        captions = {"before_caption": pair.before_caption, "after_caption": pair.after_caption}
        scenes = {"before": pair.before.to_json(), "after": pair.after.to_json()}
        entries.append({"kind": pair.kind, **captions, **scenes})
    for name, ending in (("before", "webp"), ("after", "webp"), ("mask", "png")):
        save_sheet(pictures[name], FOLDER / f"edits-{name}.{ending}")
    with written(FOLDER / "edits.json") as draft:
        draft.write_text(json.dumps(entries, separators=(",", ":")) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
