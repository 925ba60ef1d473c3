"""What `elite.py` writes of its cells: what they say, a table, and the page of the docs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from typing import Any

import numpy as np
from results import Value

METRICS = ("CLIP-T", "CLIP-I", "DINO-I")

Rows = Mapping[str, Mapping[str, Value]]

PAGE = """# ELITE on pocket

Written by `python bench/elite.py --ablation-steps 200 --learned`. {}
The first photo of each object, and the first picture of every prompt (`docs/pictures/elite-*.jpg`):

![Pictures of the cat](pictures/elite-cat.jpg)
"""

W = "ELITE [w], without patches"
PATCHES = "ELITE, λ 0.6"
PAIRS: Sequence[tuple[str, str, str, str]] = (
    ("CLIP-T", "several layers [w], short training", "single layer, several words [w], short training",
     "a primary word of several layers is more editable than one of a single layer (table 1)"),
    ("CLIP-I", "ELITE [v], without patches", W, "all words are more like the photo than the primary one (table 1)"),
    ("CLIP-T", W, "ELITE [v], without patches", "and less editable (table 1)"),
    ("CLIP-I", PATCHES, W, "patches are much more like the photo (table 1)"),
    ("DINO-I", PATCHES, W, "the same by DINO (table 1)"),
    ("CLIP-T", PATCHES, W, "at next to no loss of editability (table 1: -.002)"),
    *(("CLIP-T", PATCHES, f"{method}, one photo", f"better text alignment than {method} (table 2)")
      for method in ("textual-inversion", "dreambooth", "custom-diffusion")),
    *(("CLIP-I", PATCHES, f"{method}, one photo", f"image alignment comparable with {method}'s (table 2)")
      for method in ("textual-inversion", "dreambooth", "custom-diffusion")),
    ("CLIP-I", "ELITE, λ 1.2", "ELITE, λ 0.2", "more λ: more like the photo (figure 7)"),
    ("CLIP-T", "ELITE, λ 0.2", "ELITE, λ 1.2", "and less editable (figure 7)"),
    ("CLIP-I", PATCHES, "local alone", "patches alone lack the structure (figure 17)"),
)  # fmt: skip
"""(metric, the row that the paper has higher, the lower one, what it says of them)."""


def head(names: Sequence[str], asked: Any, encoder: str, day: date) -> str:
    """What was measured."""
    return (
        f"From one photo: {', '.join(names)}; {asked.prompts} prompts x {asked.seeds} seeds each, {asked.steps} DDIM "
        f"steps; mean ± standard error over pictures; encoder {encoder or 'none'}; {day}. The encoder reads photos "
        "with the image side of the CLIP that conditions the denoiser; the CLIP and the DINO that score share nothing "
        "with it but the pictures that they learned from.\n"
    )


def table(rows: Rows) -> Iterator[str]:
    """A line for every row."""
    yield from ("| | CLIP-T x2.5 | CLIP-I | DINO-I | seconds |", "|---|---|---|---|---|")
    for row, metrics in rows.items():
        cells = [f"{metrics[m].mean:.3f} ± {metrics[m].error or 0.0:.3f}" for m in METRICS]
        seconds = float(
            np.median([v for some in metrics["seconds"].values.values() for v in some if v is not None])
        )
        yield f"| {row} | {' | '.join(cells)} | {f'{seconds:.2g}' if seconds else ''} |"


def verdicts(rows: Rows) -> Iterator[str]:
    """The paper's orderings beside the measured differences, of the same prompts and seeds."""
    for metric, more, less, said in PAIRS:
        if more in rows and less in rows:
            gap, error = rows[more][metric].less(rows[less][metric])
            yield f"- {said}: {metric} of {more} minus {less}, {gap:+.3f} ± {error or 0.0:.3f}."
