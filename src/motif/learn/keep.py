"""`keep best`: the checkpoint at the knee of a run's curve of image and text alignment, not the last one.

    k* = argmax_k  (T_k − T_0) − (T_b − T_0) (I_k − I_0) / (I_b − I_0),        b = argmax_k I_k

I is CLIP-I with the photos and T is CLIP-T (Kumari et al. 2023, section 4; card 4.2), of the same prompts and seeds
drawn with every checkpoint; 0 is before the first step. The longer a concept is learned, the more its pictures are like
the photos and the less like the words: the knee lies farthest above the straight line from the start to the best
likeness. Ours: the papers stop after a number of steps.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from motif.base import Base
from motif.concept import Concept
from motif.errors import InputError
from motif.features.extractors import ClipEncoder
from motif.files import read_json, written
from motif.lanes import draw
from motif.learn.examples import Examples
from motif.learn.run import KEPT, PLOT
from motif.measure import clip_i, clip_t
from motif.measure.prompted import require_prompts

log = logging.getLogger("motif")

PLACES = ("on the beach", "in the snow", "in the meadow", "on a wooden floor")
SEEDS = (0, 1, 2, 3)
STEPS = 25


@dataclass(frozen=True)
class Reading:
    """What the pictures of one checkpoint score, each with its standard error."""

    step: int
    image: float
    image_error: float
    text: float
    text_error: float


@dataclass(frozen=True, eq=False)
class Judge:
    """Who draws and scores: the same prompts and seeds for every checkpoint."""

    encoder: ClipEncoder
    concepts: tuple[Examples, ...]
    prompts: tuple[str, ...]
    side: int

    @staticmethod
    def of(
        base: Base, concepts: tuple[Examples, ...], *, previews: Sequence[str], encoder: str, side: int
    ) -> Judge:
        """The judge of a run, before any work.

        Args:
            previews: The user's own prompts; without them, the concepts in four places.
            encoder: pocket, paper (ViT-B/32), a folder or a hub id; "" is pocket's on pocket, the paper's elsewhere.
            side: Of its square pictures, in pixels.
        Raises:
            MissingModel: the encoder is not on this machine. InputError: a prompt that says nothing but the token.
        """
        name = encoder or ("pocket" if base.name == "pocket" else "paper")
        named = " and ".join(
            f"a {one.phrase}" if one.token or len(concepts) > 1 else one.prompt for one in concepts
        )
        prompts = tuple(previews) or tuple(f"{named} {place}" for place in PLACES)
        require_prompts(prompts, len(prompts), "strip")
        return Judge(ClipEncoder.load(name, device=str(base.device)), concepts, prompts, side)

    def read(self, dressed: Base, step: int) -> Reading:
        """Draw with this base, and score; of several concepts, the mean likeness."""
        texts = [prompt for prompt in self.prompts for _ in SEEDS]
        seeds, size = [*SEEDS] * len(self.prompts), (self.side, self.side)
        images = list(draw(dressed, texts, seeds=seeds, steps=STEPS, size=size))
        near = [
            clip_i(images, [photo.path for photo in examples.photos], encoder=self.encoder)
            for examples in self.concepts
        ]
        said = clip_t(images, texts, encoder=self.encoder)
        image, error = (
            sum(values) / len(near)
            for values in ([score.mean for score in near], [score.standard_error or 0.0 for score in near])
        )
        return Reading(step, image, error, said.mean, said.standard_error or 0.0)

    def chosen(self, start: Reading | None, base: Base, checkpoints: Sequence[tuple[int, Path]]) -> Concept:
        """The checkpoint to keep; readings and reasons go beside it, into keep.json and keep.png.

        Args:
            start: Of the values before the first step; None takes what another process chose.
            base: What was trained on; checkpoints hold what it wears.
            checkpoints: Steps and files, in order.
        """
        folder = checkpoints[0][1].parent
        if start is None:
            return Concept.load(dict(checkpoints)[int(read_json(folder / KEPT)["kept"])])
        bare = replace(base, weights={}, vectors={}, nouns={}, concepts=())
        readings = [self.read(bare.wear(Concept.load(path)), step) for step, path in checkpoints]
        kept, why = knee(start, readings)
        told = {
            "kept": kept,
            "why": why,
            "rule": (__doc__ or "").split("\n\n")[1].strip(),
            "prompts": list(self.prompts),
            "seeds": list(SEEDS),
            "encoder": self.encoder.choices(),
            "start": vars(start),
            "checkpoints": [vars(reading) for reading in readings],
        }
        with written(folder / KEPT) as part:
            part.write_text(json.dumps(told, indent=2) + "\n")
        _plot(start, readings, kept, folder / PLOT)
        log.info("the checkpoint of step %d is kept: %s (%s)", kept, why, folder / KEPT)
        return Concept.load(dict(checkpoints)[kept])


def require_choice(folder: Path | None, every: int, steps: int) -> None:
    """InputError where a run will have no checkpoints to choose among."""
    if folder is None:
        raise InputError(
            "keep best chooses among the checkpoints of a run's folder: name one, or keep the last"
        )
    if every >= steps:
        raise InputError(
            f"keep best chooses among checkpoints, and {steps} steps with one every {every} leave one: lower "
            "checkpoint_every, or keep the last"
        )


def knee(start: Reading, readings: Sequence[Reading]) -> tuple[int, str]:
    """The step to keep, and why in words: the one farthest above the line, and of equals the first."""
    top = max(readings, key=lambda r: r.image)
    if top.image <= start.image:
        log.warning("no checkpoint is more like the photos than the start: was anything learned?")
        return readings[-1].step, "the last, for none is more like the photos than the start"
    slope = (top.text - start.text) / (top.image - start.image)
    above = [r.text - start.text - slope * (r.image - start.image) for r in readings]
    if (most := max(above)) < 1e-9:
        return top.step, "the most like the photos, for none lies above the straight line to it"
    kept = readings[above.index(most)]
    share = (kept.image - start.image) / (top.image - start.image)
    return kept.step, (
        f"{share:.0%} of the gain in image alignment, and text alignment {most:.3f} above the straight line from the "
        "start to the best likeness"
    )


def _plot(start: Reading, readings: Sequence[Reading], chosen: int, path: Path) -> None:
    """Text over image alignment, a point for every checkpoint."""
    from matplotlib.figure import Figure

    figure: Any = Figure(figsize=(5, 4), layout="constrained")
    axes, every = figure.add_subplot(), [start, *readings]
    top = max(readings, key=lambda r: r.image)
    axes.plot([start.image, top.image], [start.text, top.text], ":", color="grey")
    axes.errorbar(
        [r.image for r in every], [r.text for r in every], xerr=[r.image_error for r in every],
        yerr=[r.text_error for r in every], fmt="o-", elinewidth=0.5, capsize=2,
    )  # fmt: skip
    for r in every:
        axes.annotate(str(r.step), (r.image, r.text), textcoords="offset points", xytext=(4, 4))
        if r.step == chosen:
            axes.plot(r.image, r.text, "o", markersize=14, fillstyle="none", color="C3")
    axes.set(
        xlabel="image alignment (CLIP-I)", ylabel="text alignment (CLIP-T)", title=f"kept: step {chosen}"
    )
    with written(path) as part:
        figure.savefig(part, dpi=100)
