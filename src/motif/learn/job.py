"""One run, with everything that it is made of, and what of it can be wrong: told before any work."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from motif.base import Base
from motif.errors import InputError
from motif.learn.descent import Way
from motif.learn.examples import Examples, check_token
from motif.learn.lesson import Lesson
from motif.learn.ranks import Ranks
from motif.learn.trained import Trained


@dataclass(frozen=True, eq=False)
class Job:
    """The parts of one run."""

    base: Base
    concepts: tuple[Examples, ...]
    lesson: Lesson
    use: Any  # the settings
    side: int
    folder: Path | None
    ranks: Ranks

    def share(self) -> int:
        """Photos of each concept in a step."""
        return self.use.batch_size // len(self.concepts)


def way(job: Job) -> Way:
    """How its gradients become values."""
    use = job.use
    return Way(use.steps, use.optimiser, use.lr_schedule, use.lr_warmup, use.ema, job.lesson.recipe.max_norm)


def checked(job: Job) -> Trained:
    """The values to train, once everything that can be wrong with the settings has been looked at."""
    base, use, lesson = job.base, job.use, job.lesson
    require_possible(job, base.device)
    nouns = {token: noun for examples in job.concepts for token, noun in examples.nouns.items()}
    return Trained.start(
        base, lesson.learned(), lesson.words, nouns,
        rank=lesson.rank, contexts=lesson.contexts, shifts=lesson.shifts, seed=use.seed,
    )  # fmt: skip


def require_possible(job: Job, device: torch.device) -> None:
    """InputError for settings that cannot work there. No value of the base is looked at: its outline is enough."""
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
            f"accumulate {use.accumulate}: a step is computed in so many equal parts, and batch_size is "
            f"{use.batch_size}"
        )
    if use.accumulate * job.ranks.count > use.batch_size:
        raise InputError(
            f"batch_size {use.batch_size} in {job.ranks.count} processes, accumulate {use.accumulate}: each part "
            "of each process needs a photo; batch_size is of all processes together"
        )
    if use.min_snr < 0:
        raise InputError(f"min_snr {use.min_snr}: a ratio, such as 5; 0 weighs all timesteps alike")
    way(job).check(device)
    if use.prior_weight < 0:
        raise InputError(f"prior_weight {use.prior_weight}: 0 or more (--prior none leaves the prior out)")
    if not 0 <= use.seed < 2**63:
        raise InputError(f"seed {use.seed}: a seed is 0 or more, and less than 2^63")
    base.latent_shape((job.side, job.side))
    tokens = [token for examples in job.concepts for token in examples.tokens]
    if twice := {token for token in tokens if tokens.count(token) > 1}:
        raise InputError(
            f"two concepts have the token {min(twice)}: each needs its own, such as <new1> and <new2>"
        )
    for token in tokens:
        check_token(base.models.readers[0].tokenizer, token)
