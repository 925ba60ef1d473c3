"""`keep best`: a run ends when the knee of its image and text alignment is passed, and the knee's checkpoint is kept.

The same prompts and seeds are drawn with every checkpoint, from its file, and scored (`knee`). Readings are kept as
they come (keep.json), so that a run that goes on draws none twice, and decides as one that was never stopped.
"""

from __future__ import annotations

import json
import logging
import re
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
from motif.learn import knee as rule
from motif.learn.examples import Examples
from motif.learn.knee import Reading, knee, passed
from motif.learn.run import KEPT, PLOT, Run
from motif.measure import clip_i, clip_t
from motif.measure.prompted import require_prompts

log = logging.getLogger("motif")

PLACES = ("on the beach", "in the snow", "in the meadow", "on a wooden floor")
SEEDS = (0, 1, 2, 3)
STEPS = 25


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
        named = " and ".join(_named(one, alone=len(concepts) == 1) for one in concepts)
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


def _named(one: Examples, *, alone: bool) -> str:
    """What a picture of a concept shows: its word with its class; of a style, of what has no class, and of plain words
    on their own, all that the photos' prompt says."""
    style = re.search(r"\bstyle\b", one.prompt, re.IGNORECASE)
    return f"a {one.phrase}" if one.noun and not style and (one.token or not alone) else one.prompt


class Curve:
    """The readings of one run, and what follows from them. Of several processes, the one that writes reads."""

    def __init__(
        self, judge: Judge, base: Base, before: Base, run: Run, *, steps: int, patience: int
    ) -> None:
        """The curve with its first point.

        Args:
            base: What is trained on; checkpoints hold what it wears.
            before: The base wearing the values before the first step.
            steps: Where the run ends, if nothing ends it before.
            patience: How many checkpoints behind the knee must leave it where it is; 0 chooses in the end.
        """
        assert run.folder is not None
        self.judge, self.run, self.steps, self.patience = judge, run, steps, patience
        self.bare, self.place = replace(base, weights={}, vectors={}, nouns={}, concepts=()), run.folder
        self.readings = self._kept() if run.resume and run.writes else dict[int, Reading]()
        if run.writes and 0 not in self.readings:
            self.readings[0] = judge.read(before, 0)

    def enough(self, step: int) -> bool:
        """Whether the knee is passed, by the checkpoints up to this step; those that were not read yet are."""
        if not self.run.writes:
            return False
        for at, path in self._files(step):
            if self._ended(at) is not None:
                break
            if at not in self.readings:
                found = self.judge.read(self.bare.wear(Concept.load(path)), at)
                log.info("step %d: image alignment %.3f, text alignment %.3f", at, found.image, found.text)
                self.readings[at] = found
        if self._until(step):
            self._tell(step)
        return self._ended(step) is not None

    def chosen(self) -> Concept:
        """The checkpoint to keep; readings and reasons are beside it, in keep.json and keep.png."""
        if self.run.writes:
            self.enough(self.steps)
        told = read_json(self.place / KEPT)
        kept = int(told["kept"])
        if self.run.writes:
            _plot(self.readings[0], [Reading(**r) for r in told["checkpoints"]], kept, self.place / PLOT)
            best = self.readings[kept].image > self.readings[0].image
            say = log.info if best else log.warning
            say("the checkpoint of step %d is kept: %s (%s)", kept, told["why"], self.place / KEPT)
        return Concept.load(dict(self._files(self.steps))[kept])

    def _files(self, step: int) -> list[tuple[int, Path]]:
        """The checkpoints up to a step, without those that a stop left between two."""
        every = self.run.checkpoint_every
        return [(at, path) for at, path in self.run.checkpoints(step) if at % every == 0 or at == self.steps]

    def _until(self, step: int) -> list[Reading]:
        return [self.readings[at] for at, _ in self._files(step) if at in self.readings]

    def _ended(self, step: int) -> int | None:
        return passed(self.readings[0], self._until(step), self.patience)

    def _same(self) -> dict[str, Any]:
        """What readings depend on, beside the run."""
        return {
            "prompts": list(self.judge.prompts),
            "seeds": list(SEEDS),
            "denoising_steps": STEPS,
            "side": self.judge.side,
            "encoder": self.judge.encoder.choices(),
        }

    def _kept(self) -> dict[int, Reading]:
        """What an earlier leg read in the same way."""
        path = self.place / KEPT
        told = read_json(path) if path.is_file() else {}
        if any(told.get(name) != value for name, value in json.loads(json.dumps(self._same())).items()):
            return {}
        return {r["step"]: Reading(**r) for r in (told["start"], *told["checkpoints"])}

    def _tell(self, step: int) -> None:
        ended = self._ended(step)
        seen = self._until(step if ended is None else ended)
        kept, why = knee(self.readings[0], seen)
        told = {
            "kept": kept,
            "why": why,
            "ended": ended,
            "rule": (rule.__doc__ or "").split("\n\n")[1].strip(),
            "patience": self.patience,
            **self._same(),
            "start": vars(self.readings[0]),
            "checkpoints": [vars(reading) for reading in seen],
        }
        with written(self.place / KEPT) as part:
            part.write_text(json.dumps(told, indent=2) + "\n")


def require_choice(folder: Path | None, every: int, steps: int, patience: int) -> None:
    """InputError where a run will have no checkpoints to choose among."""
    if patience < 0:
        raise InputError(f"keep_patience {patience}: so many checkpoints behind the knee; 0 takes every step")
    if folder is None:
        raise InputError(
            "keep best chooses among the checkpoints of a run's folder: name one, or keep the last"
        )
    if every >= steps:
        raise InputError(
            f"keep best chooses among checkpoints, and {steps} steps with one every {every} leave one: lower "
            "checkpoint_every, or keep the last"
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
