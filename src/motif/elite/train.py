"""ELITE's training: the global mapping network on a folder of objects, then the local one beside it, frozen.

Wei et al. 2023 (arXiv 2302.13848), section 3; card 2.5 and 3.6. AdamW at a constant rate, gradients clipped to 1,
70,000 steps and then 65,000 (the release's). Step i of a stage depends on (seed, stage, i) alone, so that a run that
was stopped goes on as if it had not been.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import nn

from motif.base import Base
from motif.elite.encoder import Encoder
from motif.elite.run import State
from motif.elite.stages import Batch, Learning, Stage, global_loss, local_loss
from motif.elite.start import default_image, fresh
from motif.elite.subjects import Subject, fits_global, fits_local, read_subjects
from motif.elite.tower import Tower
from motif.elite.views import global_view, local_view
from motif.errors import InputError
from motif.learn.training import advised
from motif.progress import Progress, Ticker
from motif.weights import not_finite

log = logging.getLogger("motif")

PAPER = {
    "steps": 70_000, "local_steps": 65_000, "batch_size": 64, "local_batch_size": 32, "lr": 6.4e-5, "local_lr": 3.2e-4,
    "l1": 0.01, "local_l1": 1e-4,
}  # fmt: skip
"""The release's numbers (the paper has batches of 16 and 8, and rates of 1e-6 and 1e-5 before scaling)."""


def elite(
    base: Base,
    dataset: str | Path,
    *,
    image: str = "",
    steps: int | None = None,
    local_steps: int | None = None,
    batch_size: int | None = None,
    local_batch_size: int | None = None,
    lr: float | None = None,
    local_lr: float | None = None,
    l1: float | None = None,
    local_l1: float | None = None,
    augment: bool = True,
    limit: int = 0,
    seed: int = 23,
    checkpoint_every: int = 500,
    folder: Path | None = None,
    resume: bool = False,
    on_progress: Callable[[Progress], None] | None = None,
) -> Encoder:
    """Train an encoder that makes a concept of one photo, on pictures with one object each.

    What is not given comes from the base's advice where it has some, and from the release elsewhere.

    Args:
        image: The image encoder: pocket, paper (CLIP ViT-L/14), a transformers folder or a hub id; the default is
            pocket's on pocket, and the paper's elsewhere.
        steps: Steps of the global stage (release: 70000).
        local_steps: Steps of the local stage (release: 65000); 0 leaves the local network out.
        batch_size: Pictures per step of the global stage (release: 64, paper: 16).
        local_batch_size: Pictures per step of the local stage (release: 32, paper: 8).
        lr: Learning rate of the global stage, as it is used (release: 6.4e-5).
        local_lr: Learning rate of the local stage, as it is used (release: 3.2e-4).
        l1: Weight of the words' mean size (release: 0.01).
        local_l1: Weight of the local values' mean size (release: 0.0001).
        augment: Vary what the image encoder sees, and place the local stage's targets by chance.
        limit: Use the first so many objects; 0 is all.
        seed: Seed of every random choice.
        checkpoint_every: Save the state every so many steps.
        folder: The run's folder: log, state, and the encoder behind the global stage.
        resume: Go on from the state in the run's folder; the same settings are needed, more steps may be asked for.
        on_progress: Told of every step of both stages.
    Raises:
        InputError: no object of a fit size, no mask for the local stage, a base that is not in float32, or a state of
            another run. Interrupted: stopped by Ctrl-C; the state is saved.
    """
    given = {
        "steps": steps, "local_steps": local_steps, "batch_size": batch_size, "local_batch_size": local_batch_size,
        "lr": lr, "local_lr": local_lr, "l1": l1, "local_l1": local_l1, "augment": augment, "limit": limit,
        "seed": seed, "image": image or default_image(base),
    }  # fmt: skip
    settings = advised(base, "elite", PAPER, given)
    use = SimpleNamespace(**settings)
    _check(base, use, checkpoint_every)
    subjects = read_subjects(dataset, limit=limit)
    tower = Tower.load(use.image, device=str(base.device))
    start = fresh(base, use.image, seed=seed, settings=settings)
    job = _Job(base, subjects, tower, start, Learning.of(start, base), use)
    job.check()
    state = State(
        folder, {**settings, "base": base.origin.fingerprint, "pictures": [s.name for s in subjects]}
    )
    state.check(resume)
    ticker = Ticker(on_progress, use.steps + use.local_steps)
    stage, done, optimiser = state.read(job.learning.own, use.steps) if resume else ("global", 0, None)
    if stage == "global":
        job.run("global", done, use.steps, optimiser, state, ticker, checkpoint_every)
        if folder:
            job.encoder(local=False).save(folder / "global.safetensors")
        done, optimiser = 0, None
    else:
        ticker.skip(use.steps)
    if use.local_steps:
        job.run("local", done, use.local_steps, optimiser, state, ticker, checkpoint_every)
    return job.encoder(local=bool(use.local_steps))


def _check(base: Base, use: Any, checkpoint_every: int) -> None:
    if base.dtype != torch.float32:
        raise InputError(
            f"the base is in {base.dtype}: ELITE's networks are trained in float32 (--precision fp32)"
        )
    if base.concepts:
        raise InputError("the base wears concepts: an encoder is trained on the bare base")
    least = {
        "steps": 1,
        "local_steps": 0,
        "batch_size": 1,
        "local_batch_size": 1,
        "l1": 0,
        "local_l1": 0,
        "limit": 0,
    }
    for name, lowest in least.items():
        if not getattr(use, name) >= lowest:
            raise InputError(f"{name} is {getattr(use, name)}: it must be {lowest} or more")
    for name in ("lr", "local_lr"):
        if not (math.isfinite(getattr(use, name)) and getattr(use, name) > 0):
            raise InputError(f"{name} is {getattr(use, name)}: it must be above 0")
    if checkpoint_every < 1:
        raise InputError(f"checkpoint_every is {checkpoint_every}: a checkpoint needs a step between")


@dataclass(frozen=True, eq=False)
class _Job:
    """One run with everything that it is made of."""

    base: Base
    subjects: tuple[Subject, ...]
    tower: Tower
    start: Encoder
    learning: Learning
    use: Any

    def check(self) -> None:
        """InputError where a stage would have nothing to see; the first objects are looked at."""
        for stage in ("global", *(("local",) if self.use.local_steps else ())):
            if not any(self._fits(stage, subject) for subject in self.subjects[:64]):
                what = (
                    "2 to 80 % of its picture"
                    if stage == "global"
                    else "a mask of a fifth of its picture's side"
                )
                raise InputError(f"no object for the {stage} stage among the first: each needs {what}")

    def _fits(self, stage: str, subject: Subject) -> bool:
        if stage == "local" and not subject.masked:
            return False
        image, mask, box = subject.seen()
        return fits_global(image, box) if stage == "global" else mask is not None and fits_local(image, box)

    def run(
        self,
        stage: Stage,
        first: int,
        total: int,
        saved: Mapping[str, Any] | None,
        state: State,
        ticker: Ticker,
        checkpoint_every: int,
    ) -> None:
        """Take the steps of one stage."""
        self.learning.begin(stage)
        own, name = self.learning.own(stage), "" if stage == "global" else "local_"
        rate = getattr(self.use, f"{name}lr")
        optimiser = torch.optim.AdamW(own.values(), lr=rate, betas=(0.9, 0.999), eps=1e-8, weight_decay=1e-2)
        if saved:
            optimiser.load_state_dict(dict(saved))
        if first > total:
            raise InputError(
                f"the run has taken {first} steps of the {stage} stage, more than {total}: ask for more"
            )
        ticker.skip(first)
        with state.stopping() as stop:
            for step in range(first, total):
                loss = self.loss(stage, step)
                if not math.isfinite(reached := float(loss.detach())):
                    raise InputError(
                        f"the loss at step {step} of the {stage} stage is {reached}: lower --{name}lr"
                    )
                loss.backward()
                nn.utils.clip_grad_norm_(own.values(), 1.0)
                optimiser.step()
                optimiser.zero_grad(set_to_none=True)
                state.note({"stage": stage, "step": step + 1, "loss": reached})
                due = (step + 1) % checkpoint_every == 0 or step + 1 == total or stop.is_set()
                if due and (broken := not_finite(own)):
                    raise InputError(f"{broken} is not finite after step {step + 1}: lower --{name}lr")
                if due:
                    state.save(stage, step + 1, self.learning.own, optimiser)
                ticker.tick(loss=reached)
                state.stop(stop, stage, step + 1, total)

    def loss(self, stage: Stage, step: int) -> torch.Tensor:
        """What a step minimises."""
        size = self.use.batch_size if stage == "global" else self.use.local_batch_size
        rngs = [np.random.default_rng([self.use.seed, stage == "local", step, i]) for i in range(size)]
        views = [self._view(stage, rng) for rng in rngs]
        draws = [torch.Generator().manual_seed(int(rng.integers(2**62))) for rng in rngs]
        batch = Batch.of(self.base, self.tower, self.start.layers, views, draws)
        if stage == "global":
            return global_loss(self.base, self.learning, self.start.widths, batch, self.use.l1)
        return local_loss(self.base, self.learning, self.start.widths, batch, self.use.local_l1)

    def _view(self, stage: Stage, rng: np.random.Generator) -> Any:
        """One object that fits, drawn by chance, as this stage sees it."""
        side, factor = self.base.size, self.base.latent_factor
        for _ in range(1000):
            subject = self.subjects[int(rng.integers(len(self.subjects)))]
            if self._fits(stage, subject):
                augment = self.use.augment
                if stage == "global":
                    return global_view(subject, side, factor, self.tower.side, rng, augment=augment)
                return local_view(
                    subject, side, factor, self.tower.side, self.tower.cells, rng, augment=augment
                )
        raise InputError(
            f"a thousand objects, and none fits the {stage} stage: their boxes or masks are too small"
        )

    def encoder(self, *, local: bool) -> Encoder:
        """What was learned so far."""
        return self.learning.encoder(
            self.start,
            self.base,
            local=local,
            settings=json.loads(json.dumps(vars(self.use))),
            origin=self.base.origin,
        )
