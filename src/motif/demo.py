"""`motif demo`: the main job on real input, offline, on two cores, in a few minutes.

Photos of one object that the embedded base has never seen; a concept learned from them by Custom Diffusion; the
object in six places where none of the photos was taken, beside what the base says to the same words; the object in the
place of another one, in a picture that is there; scores before and after, between their floor (other objects of the
class) and their ceiling (unseen photos of this one); one report page.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from motif.base import Base
from motif.concept import Concept
from motif.demo_edit import put_into_a_picture
from motif.demo_report import SEEDS, TOKEN, Answer, report, sheet
from motif.errors import InputError, Interrupted
from motif.features.extractors import ClipEncoder, DinoEncoder
from motif.files import read_json, written
from motif.images import save_image
from motif.lanes import draw
from motif.learn import Examples, custom_diffusion
from motif.learn.fit import Progress
from motif.learn.run import STATE, SUMMARY
from motif.measure import clip_i, clip_t, dino_i
from motif.measure.score import Score
from motif.pocket.concepts import HeldOut, held_out
from motif.versions import versions

if TYPE_CHECKING:
    pass

log = logging.getLogger("motif")


def demo(
    base: Base,
    subject: HeldOut,
    out: Path,
    *,
    steps: int | None = None,
    seed: int = 0,
    say: Callable[[str], None] = lambda line: None,
    on_progress: Callable[[Progress], None] | None = None,
    on_picture: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Learn, sample, measure and report; returns what it measured. A run that was stopped goes on.

    Args:
        base: The embedded base.
        subject: The object to learn, see `subject_named`.
        out: The folder to write to: report.html, sheet.png, edit.png, pictures/, concept.safetensors, demo.json, the
            run's log.
        steps: Training steps; the default is pocket's own advice.
        seed: Of training; the pictures always use seeds 0 and 1.
        say: Told in one line what happens next.
        on_progress: Told of every training step.
        on_picture: Told of every prior picture that is drawn: how many, of how many.
    Raises:
        MissingModel: the embedded encoders have not been made.
    """
    began = time.monotonic()
    clip, dino = ClipEncoder.load("pocket"), DinoEncoder.load("pocket")
    say(f"learning {TOKEN} from {len(subject.references)} photos")
    told: dict[str, Any] = {"on_progress": on_progress, "on_picture": on_picture}
    learned = _learned(base, subject, folder=out / "run", steps=steps, seed=seed, **told)
    learned.save(out / "concept.safetensors")
    me = base.wear(learned)
    say(f"drawing {len(subject.places)} places with the class word alone, and with {TOKEN}")
    before = _answer(base, f"a photo of a {subject.noun}", subject.places)
    after = _answer(me, f"a photo of a {TOKEN} {subject.noun}", subject.places)
    say(f"putting it into a picture of another {subject.noun}")
    edited = put_into_a_picture(me, subject, TOKEN)
    say("measuring")
    scores = _scores(subject, before, after, clip, dino)
    for name, answer in (("before", before), ("after", after)):
        for i, image in enumerate(answer.images):
            save_image(image, out / "pictures" / f"{name}-{i // len(SEEDS)}-{SEEDS[i % len(SEEDS)]}.png")
    measured = {
        "concept": subject.name,
        "noun": subject.noun,
        "steps": learned.record.settings["steps"],
        "seed": seed,
        "changed": base.difference(me),
        "edit": {"prompt": edited.prompts[0], "evaluations": edited.evaluations},
        "scores": {
            row: {metric: score.as_dict() for metric, score in found.items()} for row, found in scores.items()
        },
        "seconds": round(time.monotonic() - began, 1),
        "versions": versions(),
    }
    with written(out / "demo.json") as part:
        part.write_text(json.dumps(measured, indent=1) + "\n")
    save_image(sheet(subject, before, after, edited), out / "sheet.png")
    save_image(edited.strip(), out / "edit.png")
    report(out, subject, before, after, edited, scores, measured)
    return measured


def subject_named(name: str) -> HeldOut:
    """A held-out object of pocket's world. InputError for one that is not there."""
    found = {subject.name: subject for subject in held_out()}
    if name not in found:
        raise InputError(f"no held-out object {name!r}: choose one of {', '.join(found)}")
    return found[name]


def _learned(base: Base, subject: HeldOut, *, folder: Path, **settings: Any) -> Concept:
    """The concept; what was learned in the folder is not learned again."""
    examples, left = Examples(subject.folder, f"photo of a {TOKEN} {subject.noun}"), _left(folder)
    try:
        with _without_advice():
            try:
                return custom_diffusion(base, examples, folder=folder, resume=left != "nothing", **settings)
            except InputError as error:  # another object's, or of other settings
                if left == "all":
                    return custom_diffusion(base, examples, folder=folder, **settings)
                if left == "a part":
                    raise InputError(
                        f"{folder} holds a stopped demo that this one cannot go on with: remove it, choose another "
                        f"folder (-o), or give the same concept, seed and steps again ({error})"
                    ) from None
                raise
    except Interrupted as stopped:
        raise Interrupted(f"stopped in {folder}: the same command goes on from there") from stopped


def _left(folder: Path) -> Literal["nothing", "a part", "all"]:
    """How much a run in the folder has learned. InputError where there is no telling."""
    summary = folder / SUMMARY
    if not summary.is_file():
        return "nothing"
    try:
        found = read_json(summary)
        part = int(found["step"]) < int(found["steps"])
    except (InputError, LookupError, TypeError, ValueError):
        raise InputError(f"{summary} is damaged: remove {folder}, or choose another folder (-o)") from None
    if not (folder / STATE).is_file():
        return "nothing"
    return "a part" if part else "all"


@contextmanager
def _without_advice() -> Iterator[None]:
    """Keep from the log what advises an option of `motif learn`: the demo does not have it."""

    def fits(record: logging.LogRecord) -> bool:
        return record.levelno > logging.INFO or " --" not in record.getMessage()

    log.addFilter(fits)
    try:
        yield
    finally:
        log.removeFilter(fits)


def _answer(base: Base, opening: str, places: Sequence[str]) -> Answer:
    prompts = [f"{opening} {place}" for place in places]
    texts = [prompt for prompt in prompts for _ in SEEDS]
    return Answer(tuple(prompts), tuple(draw(base, texts, seeds=SEEDS * len(prompts), steps=30)))


def _scores(
    subject: HeldOut, before: Answer, after: Answer, clip: ClipEncoder, dino: DinoEncoder
) -> dict[str, dict[str, Score]]:
    """Image and text alignment of both answers, and the floor and the ceiling of image alignment."""
    scores: dict[str, dict[str, Score]] = {}
    pictures: Mapping[str, Sequence[Any]] = {
        "other objects of the class (floor)": subject.others,
        "base, class word": before.images,
        f"learned {TOKEN}": after.images,
        "the same object, unseen photos (ceiling)": subject.views,
    }
    for row, images in pictures.items():
        scores[row] = {
            "clip-i": clip_i(images, subject.references, encoder=clip),
            "dino-i": dino_i(images, subject.references, encoder=dino),
        }
    for row, answer in (("base, class word", before), (f"learned {TOKEN}", after)):
        texts = [prompt for prompt in answer.prompts for _ in SEEDS]
        scores[row]["clip-t"] = clip_t(answer.images, texts, encoder=clip)
    return scores
