"""StyleDiffusion's figure 4: cross-attention whose keys read one prompt and whose values read another.

`python bench/keys_values.py` takes the held-out pairs of captions that differ in the object ("a photo of a teal cactus
in the night", "... a teal house ..."), and draws each caption with four seeds, then once with the other's keys and once
with the other's values, from the same noise. Of every picture: how much more its caption's words it shows than the
other's (CLIP-T), and the structure distance to the picture of its own caption. Leaves OUT/keys-values/cells for `make
reproduction`, and a sheet. Three minutes of one core; `--quick` is one pair and two steps; `--base`, `--encoder`
and `--seeds` draw and judge with others (their cells are no results either).
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cells import cell, known_by

ROWS: Mapping[str, tuple[int, int]] = {
    "own": (0, 0),
    "keys of another": (1, 0),
    "values of another": (0, 1),
    "another": (1, 1),
}
"""Whose words the keys read, and whose the values: the caption's own (0), or the other's."""


def apart(base: Any, keys: str, values: str, count: int) -> Any:
    """A control by which cross-attention's keys read one text and its values another, on the guided side."""
    import torch

    from motif.attention import Control

    told = [base.read([text] * count).states for text in (keys, values)]

    class Apart(Control):
        def context(self, site: Any, call: Any, keys: Any, values: Any) -> tuple[Any, Any]:
            row = call.row("main")
            if site.kind == "self" or row is None:
                return keys, values
            span = slice(row.span.start, row.span.stop)
            found: list[torch.Tensor] = []
            for states, mine in zip((keys, values), told, strict=True):
                states = states.clone()
                states[span] = mine.to(states)
                found.append(states)
            return found[0], found[1]

    return Apart()


def drawn(base: Any, texts: tuple[str, str], who: tuple[int, int], seeds: int, steps: int) -> list[Any]:
    """Pictures whose keys and values read these of the texts."""
    from motif.lanes import draw

    words = [texts[who[0]]] * seeds
    control = apart(base, texts[who[0]], texts[who[1]], seeds)
    return list(draw(base, words, seeds=range(seeds), steps=steps, batch_size=seeds, controls=[control]))


def scored(images: list[Any], own: list[Any], texts: tuple[str, str], clip: Any, dino: Any) -> dict[str, Any]:
    """What pictures show of both captions, and how far their structure is from the own caption's."""
    from motif import measure

    mine, other = (measure.clip_t(images, [text] * len(images), encoder=clip).per_image for text in texts)
    return {
        "own words": [float(a) - float(b) for a, b in zip(mine, other, strict=True)],
        "structure": [float(v) for v in measure.structure(images, own, encoder=dino).per_image],
    }


def arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    """What the command line, or these words, ask for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("-o", "--out", type=Path, default=Path("out/bench"))
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--base", default="pocket")
    parser.add_argument("--encoder", default="pocket", help="pocket or paper")
    parser.add_argument("--device", default=None)
    parser.add_argument("--quick", action="store_true")
    return parser.parse_args(words)


def main() -> None:
    """Draw, score."""
    asked = arguments()
    if asked.quick or (asked.base, asked.encoder, asked.seeds) != ("pocket", "pocket", 4):
        asked.out /= "quick" if asked.quick else "other"  # their cells are no results
    from motif.base import Base
    from motif.features.extractors import ClipEncoder, DinoEncoder
    from motif.grids import grid
    from motif.images import save_image
    from motif.measure.structure import PAPER
    from motif.pocket.world import held_out

    base = Base.load(asked.base, device=asked.device)
    clip = ClipEncoder.load(asked.encoder)
    dino = DinoEncoder.load(
        PAPER if asked.encoder == "paper" else asked.encoder
    )  # structure has one of its own
    swaps = held_out.read_edits(Path(held_out.__file__).parents[1] / "data")
    pairs = [(e.pair.before_caption, e.pair.after_caption) for e in swaps if e.pair.kind == "noun"]
    steps, folder = 2 if asked.quick else 25, asked.out / "keys-values"
    sheet: list[Any] = []
    for number, texts in enumerate(pairs[:1] if asked.quick else pairs):
        images = dict[str, list[Any]]()

        def made(
            row: str, texts: tuple[str, str] = texts, images: dict[str, list[Any]] = images
        ) -> list[Any]:
            if row not in images:
                images[row] = drawn(base, texts, ROWS[row], asked.seeds, steps)
            return images[row]

        for row in ROWS:
            known = known_by(base, asked.seeds, steps, asked.encoder)
            cell(
                folder / "cells", f"{number:02d}", row, known,
                lambda row=row, texts=texts, made=made: scored(made(row), made("own"), texts, clip, dino),
            )  # fmt: skip
        sheet += [some[0] for some in images.values()] if len(images) == len(ROWS) else []
    if sheet:
        save_image(
            grid(sheet, columns=len(ROWS), labels=[*ROWS] * (len(sheet) // len(ROWS))), folder / "sheet.png"
        )


if __name__ == "__main__":
    main()
