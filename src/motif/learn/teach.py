"""The run that every method shares: a lesson, photos and settings in; checked, trained, and a concept out.

Everything that can be wrong is looked at before the first picture of the prior is drawn. A run is known by the base,
what it wears, the photos, the prior and every setting; it can be stopped and resumed anywhere (`fit`, `run`).
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import torch

from motif.base import Base
from motif.concept import Concept, Record
from motif.errors import InputError
from motif.images import grid
from motif.lanes import draw
from motif.learn.batches import Batches, Group, Shown
from motif.learn.descent import Descent
from motif.learn.examples import Examples
from motif.learn.fit import Progress, fit
from motif.learn.heard import require_heard
from motif.learn.job import Job, checked, way
from motif.learn.lesson import Lesson
from motif.learn.memory import scarce
from motif.learn.optimisers import finds_rate
from motif.learn.prior import Source, find, gather, placed
from motif.learn.ranks import Ranks
from motif.learn.run import Run, require_content
from motif.learn.trackers import named, require_trackers, telling
from motif.learn.trained import Trained
from motif.versions import versions

if TYPE_CHECKING:
    from PIL.Image import Image

    from motif.learn.keep import Curve, Judge

log = logging.getLogger("motif")

HANDLED = ("folder", "resume", "again", "on_progress", "on_picture")
"""Parameters that are no settings."""


def teach(
    base: Base,
    concepts: tuple[Examples, ...],
    method: str,
    lesson: Lesson,
    settings: dict[str, Any],
    *,
    asked: Mapping[str, Any],
    folder: Path | None = None,
    resume: bool | None = False,
    again: Mapping[str, Any] | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    on_picture: Callable[[int, int], None] | None = None,
) -> Concept:
    """Run a lesson.

    Args:
        concepts: The examples of each concept; they share every step.
        method: Its name, for the record.
        settings: All of the method's, settled; what they turn out to mean for these photos is written into them.
        asked: Those of them that the caller gave.
        folder: The run's folder; None writes nothing.
        resume: Go on from the folder's state.
        again: A concept's settings, whose digests must hold.
        on_progress: Told of every step.
        on_picture: Told of every prior picture that is drawn.
    Raises:
        InputError: anything that cannot work, found before any work.
    """
    use: Any = SimpleNamespace(**settings)
    require_heard(use, lesson, concepts, asked)
    if asked.get("masked") is None and use.masked and not any(p.mask for c in concepts for p in c.photos):
        use.masked = settings["masked"] = False  # advice for photos that have masks
        log.info("no photo has a mask of its subject: whole photos are learned")
    job = Job(base, concepts, lesson, use, use.resolution or base.size, folder, Ranks.here(base.device))
    prompts = [examples.prompt for examples in concepts]
    run = _run(job, bool(resume), [*use.previews] or prompts)
    judge = _judge(job)
    require_trackers(named(use.track), folder)
    values = checked(job)
    values.on(base).tokenise(_captions(job))  # what is too long or unknown fails here, not at step 50
    values.settled(base).tokenise([*([*use.previews] or prompts), *(judge.prompts if judge else ())])
    classes = _classes(job)
    sources = [_source(job, examples, shown) for examples, shown in zip(concepts, classes, strict=True)]
    settings |= _content(job, classes, sources)
    require_content(again or {}, settings)
    settings["again"]["asked"] = sorted(
        {name for name in asked.keys() - HANDLED if asked[name] is not None}
        | {*(again or {}).get("again", {}).get("asked", ())}
    )
    nouns = {**base.nouns, **values.nouns}
    said = [prompt for concept in base.concepts for prompt in concept.record.prompts] + prompts
    record = Record(method, base.origin, nouns, tuple(dict.fromkeys(said)), settings, versions())
    run.check(record, use.steps)
    job.ranks.wait()  # until all have looked, nobody writes
    with scarce(settings, values, len(concepts), run.kept):
        batches = _batches(job, values, sources, on_picture)
        return _learned(job, values, batches, record, run, judge, on_progress)


def _learned(
    job: Job,
    values: Trained,
    batches: Batches,
    record: Record,
    run: Run,
    judge: Judge | None,
    on_progress: Callable[[Progress], None] | None,
) -> Concept:
    """Take the steps; where that is asked for, no more than to the knee, and choose among what they left."""
    base, use, lesson = job.base, job.use, job.lesson
    total = (
        use.batch_size * (2 if any(g.prior.captions for g in batches.groups) else 1) if use.scale_lr else 1
    )
    rates = lesson.rates.times(total)
    if finds_rate(use.optimiser):
        log.info("%s finds one rate for all that learns", use.optimiser)
    else:
        log.info("learning rate %.3g, the words' %.3g (x %d)", rates.weights, rates.words, total)
    curve = _curve(job, judge, values, run) if judge else None
    descent = Descent(values, rates, way(job), base.device, fp16=base.dtype == torch.float16)
    with _hearing(job, run, record) as heard:
        for progress in fit(
            base,
            values,
            lambda dressed, step, part: batches.loss(dressed, step, use.prior_weight, part),
            record=record,
            descent=descent,
            accumulate=use.accumulate,
            gradient_checkpointing=use.gradient_checkpointing,
            ranks=job.ranks,
            run=heard,
            enough=curve.enough if curve else None,
        ):
            if on_progress:
                on_progress(progress)
    if curve is None:
        return descent.settled.concept(base, record)
    with job.ranks.leader_first():
        return curve.chosen()


def _run(job: Job, resume: bool, shown: Sequence[str]) -> Run:
    use, folder = job.use, job.folder
    every = use.preview_every if use.preview_every is not None else (50 if folder else 0)
    if use.previews and not every:
        raise InputError("preview prompts are given and previews are off: set preview_every and a run folder")
    return Run(
        folder,
        resume,
        use.checkpoint_every,
        every,
        lambda dressed: _sheet(dressed, shown, job.side),
        writes=job.ranks.leads,
    )


@contextlib.contextmanager
def _hearing(job: Job, run: Run, record: Record) -> Iterator[Run]:
    """The run with its trackers, where there are some."""
    if not (names := named(job.use.track)) or not (run.folder and run.writes):
        yield run
        return
    with telling(names, run.folder, f"motif-{record.method}", record.settings) as tell:
        yield replace(run, hears=tell)


def _judge(job: Job) -> Judge | None:
    """Who will choose among the checkpoints, where that is asked for."""
    use = job.use
    if use.keep != "best":
        return None
    from motif.learn.keep import Judge, require_choice

    require_choice(job.folder, use.checkpoint_every, use.steps, use.keep_patience)
    return Judge.of(job.base, job.concepts, previews=use.previews, encoder=use.keep_encoder, side=job.side)


def _curve(job: Job, judge: Judge, values: Trained, run: Run) -> Curve:
    from motif.learn.keep import Curve

    before, use = values.settled(job.base), job.use
    return Curve(judge, job.base, before, run, steps=use.steps, patience=use.keep_patience)


def _captions(job: Job) -> list[str]:
    """Every caption that a step may show."""
    prefixes = job.lesson.recipe.resizing.prefixes(job.lesson.augment)
    if job.lesson.captions and any(photo.captioned for c in job.concepts for photo in c.photos):
        log.warning("the photos' own captions are not used: this method has words of its own")
    own = job.lesson.captions or [[photo.caption for photo in c.photos] for c in job.concepts]
    return [prefix + caption for captions in own for caption in captions for prefix in prefixes]


def _classes(job: Job) -> list[list[str]]:
    """What the prior of each concept shows: as its examples say, as the settings say, or by default."""
    given = [job.use.class_prompt] if isinstance(job.use.class_prompt, str) else [*job.use.class_prompt]
    return [
        [examples.class_prompt] if examples.class_prompt else given or [*default]
        for examples, default in zip(job.concepts, job.lesson.class_prompts, strict=True)
    ]


def _source(job: Job, examples: Examples, classes: Sequence[str]) -> Source:
    """The pictures and captions of a concept's prior, not drawn and not brought yet."""
    use = job.use
    encoder = use.retrieve_encoder or ("pocket" if job.base.name == "pocket" else "paper")
    return find(
        examples.prior or use.prior,
        classes,
        count=use.prior_count,
        retrieve=encoder if use.retrieve else "",
        threshold=use.retrieve_threshold,
        device=str(job.base.device),
    )


def _content(job: Job, classes: Sequence[Sequence[str]], sources: Sequence[Source]) -> dict[str, Any]:
    """What a run is known by, beside its settings."""
    photos = [examples.record() for examples in job.concepts]
    contents = [source.content() for source in sources]
    told = {"class_prompt": job.use.class_prompt, "prior": placed(job.use.prior)}
    priors = list(dict.fromkeys(placed(examples.prior or job.use.prior) for examples in job.concepts))
    found: dict[str, Any] = {
        "class_prompt": list(dict.fromkeys(prompt for some in classes for prompt in some)),
        "prior": priors[0] if len(priors) == 1 else priors,
        "photos": photos[0] if len(photos) == 1 else photos,
        "prior_content": contents[0] if len(contents) == 1 else contents,
        "processes": job.ranks.count,
        "again": {
            "examples": [one.told() | {"prior": placed(one.prior)} for one in job.concepts],
            "settings": told,
        },
    }
    if job.use.masked:
        found["masks"] = [mask for examples in job.concepts for mask in examples.masks()]
    if job.base.concepts:
        found["worn"] = [concept.fingerprint for concept in job.base.concepts]
    return found


def _batches(
    job: Job, values: Trained, sources: Sequence[Source], on_picture: Callable[[int, int], None] | None
) -> Batches:
    """The material of every step; drawn pictures of a prior are kept in the run's folder."""
    base, lesson, use, side = job.base, job.lesson, job.use, job.side
    captions = lesson.captions or [()] * len(job.concepts)
    photos = [
        Shown.all(base, examples, lesson.recipe, side, masked=use.masked, captions=texts)
        for examples, texts in zip(job.concepts, captions, strict=True)
    ]
    with job.ranks.leader_first() if job.folder else contextlib.nullcontext():
        priors = [
            gather(
                base, source, steps=use.prior_steps, seed=use.seed, side=use.resolution, batch_size=2 * use.batch_size,
                cache=job.folder, on_picture=on_picture,
            )
            for source in sources
        ]  # fmt: skip
    return Batches(
        base,
        [Group(*both) for both in zip(photos, priors, strict=True)],
        lesson.recipe,
        batch_size=job.share(),
        seed=use.seed,
        side=side,
        augment=lesson.augment,
        original=values.before(base),
        reads=values.reads,
        min_snr=use.min_snr,
    )


def _sheet(dressed: Base, prompts: Sequence[str], side: int) -> Image:
    """Two fixed-seed pictures of every preview prompt."""
    texts = [prompt for prompt in prompts for _ in range(2)]
    images = list(draw(dressed, texts, seeds=[0, 1] * len(prompts), steps=25, size=(side, side)))
    return grid(images, columns=2, labels=texts)
