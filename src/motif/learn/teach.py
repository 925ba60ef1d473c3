"""The run that every method shares: a lesson, photos and settings in; checked, trained, and a concept out.

Everything that can be wrong is looked at before the first picture of the prior is drawn. A run is known by the base,
what it wears, the photos, the prior and every setting; it can be stopped and resumed anywhere (`fit`, `run`).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
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
from motif.learn.descent import Descent, Way
from motif.learn.examples import Examples, check_token
from motif.learn.fit import Progress, fit
from motif.learn.heard import require_heard
from motif.learn.lesson import Lesson
from motif.learn.memory import scarce
from motif.learn.prior import Source, find, gather
from motif.learn.run import Run
from motif.learn.trained import Trained
from motif.versions import versions

if TYPE_CHECKING:
    from PIL.Image import Image

log = logging.getLogger("motif")

HANDLED = ("folder", "resume", "on_progress", "on_picture")
"""Parameters that are no settings."""


@dataclass(frozen=True, eq=False)
class _Job:
    """One run with everything that it is made of."""

    base: Base
    concepts: tuple[Examples, ...]
    lesson: Lesson
    use: Any  # the settings
    side: int
    folder: Path | None

    def share(self) -> int:
        """Photos of each concept in a step."""
        return self.use.batch_size // len(self.concepts)


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
    job = _Job(base, concepts, lesson, use, use.resolution or base.size, folder)
    prompts = [examples.prompt for examples in concepts]
    run = _run(job, bool(resume), [*use.previews] or prompts)
    values = _checked(job)
    values.on(base).tokenise(_captions(job))  # what is too long or unknown fails here, not at step 50
    values.settled(base).tokenise([*use.previews] or prompts)
    classes = _classes(job)
    sources = [_source(job, examples, shown) for examples, shown in zip(concepts, classes, strict=True)]
    settings |= _content(job, classes, sources)
    nouns = {**base.nouns, **values.nouns}
    record = Record(method, base.origin, nouns, "; ".join(prompts), settings, versions())
    run.check(record, use.steps)
    with scarce(settings, values, len(concepts), run.kept):
        batches = _batches(job, values, sources, on_picture)
        return _learned(job, values, batches, record, run, on_progress)


def _learned(
    job: _Job,
    values: Trained,
    batches: Batches,
    record: Record,
    run: Run,
    on_progress: Callable[[Progress], None] | None,
) -> Concept:
    """Take the steps."""
    base, use, lesson = job.base, job.use, job.lesson
    total = (
        use.batch_size * (2 if any(g.prior.captions for g in batches.groups) else 1) if use.scale_lr else 1
    )
    rates = lesson.rates.times(total)
    log.info("learning rate %.3g, the words' %.3g (x %d)", rates.weights, rates.words, total)
    descent = Descent(values, rates, _way(job), base.device, fp16=base.dtype == torch.float16)
    for progress in fit(
        base,
        values,
        lambda dressed, step, part: batches.loss(dressed, step, use.prior_weight, part),
        record=record,
        descent=descent,
        accumulate=use.accumulate,
        gradient_checkpointing=use.gradient_checkpointing,
        run=run,
    ):
        if on_progress:
            on_progress(progress)
    return descent.settled.concept(base, record)


def _way(job: _Job) -> Way:
    use = job.use
    return Way(use.steps, use.optimiser, use.lr_schedule, use.lr_warmup, use.ema, job.lesson.recipe.max_norm)


def _run(job: _Job, resume: bool, shown: Sequence[str]) -> Run:
    use, folder = job.use, job.folder
    every = use.preview_every if use.preview_every is not None else (50 if folder else 0)
    if use.previews and not every:
        raise InputError("preview prompts are given and previews are off: set preview_every and a run folder")
    return Run(folder, resume, use.checkpoint_every, every, lambda dressed: _sheet(dressed, shown, job.side))


def _checked(job: _Job) -> Trained:
    """The values to train, once everything that can be wrong with the settings has been looked at."""
    base, use, lesson, rates = job.base, job.use, job.lesson, job.lesson.rates
    if min(use.steps, use.batch_size) < 1:
        raise InputError(f"steps {use.steps}, batch_size {use.batch_size}: both must be positive")
    if not job.concepts or use.batch_size % len(job.concepts):
        raise InputError(
            f"batch_size {use.batch_size} for {len(job.concepts)} concepts: each has its share of every step, "
            "so it must be a multiple"
        )
    learns = (rates.weights and lesson.weights) or (rates.words and lesson.words)
    if min(rates.weights, rates.words, rates.contexts) < 0 or not learns:
        told = ", ".join(f"{name} {getattr(use, name)}" for name in ("lr", "token_lr") if hasattr(use, name))
        raise InputError(f"{told}: none may be negative, and one must be positive for something that learns")
    if use.accumulate < 1 or use.batch_size % use.accumulate:
        raise InputError(
            f"accumulate {use.accumulate}: a step of {use.batch_size} photos is computed in so many equal parts"
        )
    if use.min_snr < 0:
        raise InputError(f"min_snr {use.min_snr}: a ratio, such as 5; 0 weighs all timesteps alike")
    _way(job).check(base.device)
    if use.prior_weight < 0:
        raise InputError(f"prior_weight {use.prior_weight}: 0 or more (--prior none leaves the prior out)")
    if not 0 <= use.seed < 2**63:
        raise InputError(f"seed {use.seed}: a seed is 0 or more, and less than 2^63")
    if base.dtype == torch.float16 and base.device.type == "cpu":
        raise InputError("training in fp16 is for GPUs: use --precision bf16 or fp32")
    base.latent_shape((job.side, job.side))
    tokens = [token for examples in job.concepts for token in examples.tokens]
    if twice := {token for token in tokens if tokens.count(token) > 1}:
        raise InputError(
            f"two concepts have the token {min(twice)}: each needs its own, such as <new1> and <new2>"
        )
    for token in tokens:
        check_token(base.models.readers[0].tokenizer, token)
    nouns = {token: noun for examples in job.concepts for token, noun in examples.nouns.items()}
    return Trained.start(
        base, lesson.learned(), lesson.words, nouns,
        rank=lesson.rank, contexts=lesson.contexts, shifts=lesson.shifts, seed=use.seed,
    )  # fmt: skip


def _captions(job: _Job) -> list[str]:
    """Every caption that a step may show."""
    prefixes = job.lesson.recipe.resizing.prefixes(job.lesson.augment)
    if job.lesson.captions and any(photo.captioned for c in job.concepts for photo in c.photos):
        log.warning("the photos' own captions are not used: this method has words of its own")
    own = job.lesson.captions or [[photo.caption for photo in c.photos] for c in job.concepts]
    return [prefix + caption for captions in own for caption in captions for prefix in prefixes]


def _classes(job: _Job) -> list[list[str]]:
    """What the prior of each concept shows: as its examples say, as the settings say, or by default."""
    given = [job.use.class_prompt] if isinstance(job.use.class_prompt, str) else [*job.use.class_prompt]
    return [
        [examples.class_prompt] if examples.class_prompt else given or [*default]
        for examples, default in zip(job.concepts, job.lesson.class_prompts, strict=True)
    ]


def _source(job: _Job, examples: Examples, classes: Sequence[str]) -> Source:
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


def _content(job: _Job, classes: Sequence[Sequence[str]], sources: Sequence[Source]) -> dict[str, Any]:
    """What a run is known by, beside its settings."""
    photos = [examples.record() for examples in job.concepts]
    contents = [source.content() for source in sources]
    priors = list(dict.fromkeys(examples.prior or job.use.prior for examples in job.concepts))
    found: dict[str, Any] = {
        "class_prompt": list(dict.fromkeys(prompt for some in classes for prompt in some)),
        "prior": priors[0] if len(priors) == 1 else priors,
        "photos": photos[0] if len(photos) == 1 else photos,
        "prior_content": contents[0] if len(contents) == 1 else contents,
    }
    if job.use.masked:
        found["masks"] = [mask for examples in job.concepts for mask in examples.masks()]
    if job.base.concepts:
        found["worn"] = [concept.fingerprint for concept in job.base.concepts]
    return found


def _batches(
    job: _Job, values: Trained, sources: Sequence[Source], on_picture: Callable[[int, int], None] | None
) -> Batches:
    """The material of every step; drawn pictures of a prior are kept in the run's folder."""
    base, lesson, use, side = job.base, job.lesson, job.use, job.side
    captions = lesson.captions or [()] * len(job.concepts)
    photos = [
        Shown.all(base, examples, lesson.recipe, side, masked=use.masked, captions=texts)
        for examples, texts in zip(job.concepts, captions, strict=True)
    ]
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
